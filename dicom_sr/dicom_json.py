"""DICOM JSON (PS3.18 Annex F) as a data set, mending the one slip that published examples have."""

from typing import Any

from pydicom import Dataset

from dicom_sr.errors import UnreadableReport


def parse(document: Any) -> Dataset:
    """The data set of a DICOM JSON object, or of an array's only one; a Value that is no array is taken as one of one.

    Raises UnreadableReport.
    """
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, dict):
        raise UnreadableReport("no DICOM JSON object")
    try:
        return Dataset.from_json(_mended(document))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableReport("no DICOM JSON") from error


def _mended(value: Any) -> Any:
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if not isinstance(value, dict):
        return value
    mended = {key: _mended(one) for key, one in value.items()}
    if "vr" in mended and "Value" in mended and not isinstance(mended["Value"], list):
        mended["Value"] = [mended["Value"]]
    return mended
