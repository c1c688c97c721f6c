"""The concepts of the templates that are written and read: PS3.16 Annex D and the CIDs named beside each group."""

from terminology.codings import Coding


def _dcm(value: str, meaning: str) -> Coding:
    return Coding(value=value, scheme="DCM", meaning=meaning)


def _sct(value: str, meaning: str) -> Coding:
    return Coding(value=value, scheme="SCT", meaning=meaning)


# TID 1500 Measurement Report and TID 1501 Measurement and Qualitative Evaluation Group. Viewers compare the
# meanings of some of these by text: they are the standard's wording to the letter.
IMAGING_MEASUREMENT_REPORT = _dcm("126000", "Imaging Measurement Report")
IMAGING_MEASUREMENTS = _dcm("126010", "Imaging Measurements")
MEASUREMENT_GROUP = _dcm("125007", "Measurement Group")
QUALITATIVE_EVALUATIONS = Coding(value="C0034375", scheme="UMLS", meaning="Qualitative Evaluations")
TRACKING_IDENTIFIER = _dcm("112039", "Tracking Identifier")
TRACKING_UID = _dcm("112040", "Tracking Unique Identifier")
FINDING = _dcm("121071", "Finding")
FINDING_CATEGORY = _sct("276214006", "Finding category")
FINDING_SITE = _sct("363698007", "Finding Site")
LATERALITY = _sct("272741003", "Laterality")
METHOD = _sct("370129005", "Measurement Method")
DERIVATION = _dcm("121401", "Derivation")
PROCEDURE_REPORTED = _dcm("121058", "Procedure reported")
#: Says no more than "some imaging procedure" (CID 100): written where the procedure is not known.
IMAGING_PROCEDURE = _sct("363679005", "Imaging procedure")

# TID 1204 language.
LANGUAGE = _dcm("121049", "Language of Content Item and Descendants")
ENGLISH = Coding(value="en", scheme="RFC5646", meaning="English")

# TID 1002-1004 observers.
OBSERVER_TYPE = _dcm("121005", "Observer Type")
PERSON = _dcm("121006", "Person")
DEVICE = _dcm("121007", "Device")
PERSON_NAME = _dcm("121008", "Person Observer Name")
DEVICE_UID = _dcm("121012", "Device Observer UID")
DEVICE_NAME = _dcm("121013", "Device Observer Name")
DEVICE_MANUFACTURER = _dcm("121014", "Device Observer Manufacturer")
DEVICE_MODEL = _dcm("121015", "Device Observer Model Name")
DEVICE_SERIAL = _dcm("121016", "Device Observer Serial Number")

# TID 4019 Algorithm Identification.
ALGORITHM_NAME = _dcm("111001", "Algorithm Name")
ALGORITHM_PARAMETERS = _dcm("111002", "Algorithm Parameters")
ALGORITHM_VERSION = _dcm("111003", "Algorithm Version")
ALGORITHM_FAMILY = _dcm("111000", "Algorithm Family")
ALGORITHM_MANUFACTURER = _dcm("122405", "Algorithm Manufacturer")
ARTIFICIAL_INTELLIGENCE = _dcm("123110", "Artificial Intelligence")

# TID 1600-1602 Image Library.
IMAGE_LIBRARY = _dcm("111028", "Image Library")
IMAGE_LIBRARY_GROUP = _dcm("126200", "Image Library Group")
MODALITY = _dcm("121139", "Modality")
FRAME_OF_REFERENCE_UID = _dcm("112227", "Frame of Reference UID")
STUDY_DATE = _dcm("111060", "Study Date")

# CID 219 and TID 320/1410: what a graphic is.
IMAGE_REGION = _dcm("111030", "Image Region")
OUTLINE = _dcm("111041", "Outline")
CENTER = _dcm("111010", "Center")
SOURCE_OF_MEASUREMENT = _dcm("121112", "Source of Measurement")

# TID 1500's free text.
COMMENT = _dcm("121106", "Comment")

# CID 6047: the standard's way of saying that nothing was found.
CAD_SUMMARY = _dcm("111017", "CAD Processing and Findings Summary")
NO_FINDINGS = _dcm("111241", "All algorithms succeeded; without findings")

# TID 4100 to 4107 Chest CAD, CID 6034 rendering intents.
CHEST_CAD_REPORT = _dcm("112000", "Chest CAD Report")
COMPOSITE_FEATURE = _dcm("111015", "Composite Feature")
SINGLE_IMAGE_FINDING = _dcm("111059", "Single Image Finding")
RENDERING_INTENT = _dcm("111056", "Rendering Intent")
NOT_FOR_PRESENTATION = _dcm("111152", "Not for Presentation: Rendering device expected not to present")
SCOPE_OF_FEATURE = _dcm("111057", "Scope of Feature")
COMPOSITE_TYPE = _dcm("111016", "Composite type")
LOCATION_IN_CHEST = _dcm("112013", "Location in Chest")
WITH_FINDINGS = _dcm("111242", "All algorithms succeeded; with findings")

# Measurements: CID 7470 linear, CID 7472 volumetric, CID 6048 certainty.
LONG_AXIS = _sct("103339001", "Long Axis")
SHORT_AXIS = _sct("103340004", "Short Axis")
DIAMETER = _sct("81827009", "Diameter")
VOLUME = _sct("118565006", "Volume")
CERTAINTY = _dcm("111012", "Certainty of Finding")
# CID 225 Measurement Uncertainty Concepts.
UNCERTAINTY_BELOW = _sct("371885007", "-, range of lower measurement uncertainty")
UNCERTAINTY_ABOVE = _sct("371886008", "+, range of upper measurement uncertainty")
SEGMENTED_VOXELS = _dcm("126030", "Sum of segmented voxel method for volume")

# CID 6002 Change since last examination, and CID 240 for what is there no more.
NEW_FINDING = _sct("129721008", "New finding")
INCREASE_IN_SIZE = _sct("15454001", "Increase in size")
DECREASE_IN_SIZE = _sct("19776001", "Decrease in size")
NO_SIGNIFICANT_CHANGE = _sct("129723006", "No significant changes in the finding")
ABSENT = _sct("272519000", "Absent")

# Findings (CID 6102) and the category that a SEG's segment gets (CID 7150).
NODULE = _sct("27925004", "Nodule")
ABNORMAL_STRUCTURE = _sct("49755003", "Morphologically Abnormal Structure")

# Units.
MILLIMETER = Coding(value="mm", scheme="UCUM", meaning="millimeter")
CUBIC_MILLIMETER = Coding(value="mm3", scheme="UCUM", meaning="cubic millimeter")
PERCENT = Coding(value="%", scheme="UCUM", meaning="Percent")
DAY = Coding(value="d", scheme="UCUM", meaning="day")

#: IHE AIR: purpose of a Contributing Equipment item that describes an algorithm.
PROCESSING_ALGORITHM = Coding(value="1630", scheme="99IHE", meaning="Processing Algorithm")
