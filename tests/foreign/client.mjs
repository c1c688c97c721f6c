// dcmjs writes and reads, dicomweb-client carries: node client.mjs URL FILE prints what came back as JSON.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import dcmjs from "dcmjs";
import dicomweb from "dicomweb-client";
import xhr2 from "xhr2";

globalThis.XMLHttpRequest = xhr2.XMLHttpRequest ?? xhr2;
dcmjs.log.setLevel("error");
const { DicomMessage, DicomMetaDictionary } = dcmjs.data;
const [url, file] = process.argv.slice(2);
const client = new dicomweb.api.DICOMwebClient({ url });
const sha = (buffer) => createHash("sha256").update(Buffer.from(buffer)).digest("hex");
const exact = (buffer) => buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength);
const pixels = (message) => message.dict["7FE00010"].Value[0];

// An instance of its own: the same image under a new UID, written anew by dcmjs.
const message = DicomMessage.readFile(exact(readFileSync(file)));
const instanceUID = DicomMetaDictionary.uid();
message.dict["00080018"].Value = [instanceUID];
message.meta["00020003"].Value = [instanceUID];
const value = (tag) => message.dict[tag].Value[0];
const [studyInstanceUID, seriesInstanceUID] = [value("0020000D"), value("0020000E")];
const place = { studyInstanceUID, seriesInstanceUID, sopInstanceUID: instanceUID };
const out = { instance: instanceUID, pixels: sha(pixels(message)) };

const stored = JSON.parse(await client.storeInstances({ datasets: [message.write()] }));
out.stored = stored["00081199"].Value.map((one) => one["00081155"].Value[0]);

const queryParams = { PatientID: value("00100020") };
const studies = await client.searchForStudies({ queryParams });
out.studies = studies.map((one) => DicomMetaDictionary.naturalizeDataset(one).StudyInstanceUID);
const series = await client.searchForSeries({ studyInstanceUID, queryParams: { Modality: "CT" } });
out.series = series.map((one) => DicomMetaDictionary.naturalizeDataset(one).SeriesInstanceUID);
const instances = await client.searchForInstances({ studyInstanceUID, seriesInstanceUID });
out.instances = instances.map((one) => DicomMetaDictionary.naturalizeDataset(one).SOPInstanceUID);

const metadata = await client.retrieveInstanceMetadata(place);
const natural = DicomMetaDictionary.naturalizeDataset(metadata[0]);
out.metadata = { rows: natural.Rows, columns: natural.Columns, uid: natural.SOPInstanceUID };
out.seriesMetadata = (await client.retrieveSeriesMetadata(place)).length;
out.studyMetadata = (await client.retrieveStudyMetadata(place)).length;

const back = DicomMessage.readFile(await client.retrieveInstance(place));
out.retrieved = sha(pixels(back));
out.wholeSeries = (await client.retrieveSeries(place)).length;
out.wholeStudy = (await client.retrieveStudy(place)).length;
const [frame] = await client.retrieveInstanceFrames({ ...place, frameNumbers: [1] });
out.frame = sha(frame);
out.bulk = sha((await client.retrieveBulkData({ BulkDataURI: metadata[0]["7FE00010"].BulkDataURI }))[0]);

const head = ([buffer]) => Buffer.from(buffer).subarray(0, 4).toString("hex");
const png = { mediaTypes: [{ mediaType: "image/png" }] };
out.rendered = head(await client.retrieveInstanceRendered({ ...place, ...png }));
out.frameRendered = head(await client.retrieveInstanceFramesRendered({ ...place, ...png, frameNumbers: [1] }));
out.thumbnail = head(await client.retrieveInstanceThumbnail(place));
process.stdout.write(JSON.stringify(out));
