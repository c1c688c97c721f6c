"""What the pathway reads of a report, as FHIRPath: the study, the patient, each nodule and what it was before."""

from fhir_profiles.lung_nodule.generator.artifact import SYSTEM

_DCM = "http://dicom.nema.org/resources/ontology/DCM"


def number_of(code: str) -> str:
    """The first number with that code in a measurement group."""
    return f"hasMember.resolve().where(code.coding.where(code = '{code}').exists()).value.value.first()"


#: The mean of the axes of a nodule's measurement group: the diameter, where one is given.
_LONG, _SHORT = number_of("103339001"), number_of("103340004")
_MEAN = (
    f"iif({number_of('81827009')}.exists(), {number_of('81827009')},"
    f" iif({_LONG}.exists() and {_SHORT}.exists(), ({_LONG} + {_SHORT}) / 2, {_LONG}))"
)
_VOLUME = number_of("118565006")
_PART = number_of("solid-component-diameter")
_PART_VOLUME = number_of("solid-component-volume")
_WORDS = "hasMember.resolve().value.coding.code"
_SUBJECT = "{{iif(subject.reference.exists(), subject.reference.first(), 'Patient/none')}}"
_FOCUS = "{{iif(%lesion.focus.reference.exists(), %lesion.focus.reference.first(), 'BodyStructure/none')}}"
_BEFORE = "date=lt{{iif(%seen.exists(), %seen.toString(), '1000-01-01')}}"
_STANDING = "status=preliminary,final,corrected"

#: What people say of a patient, as Observations with these codes.
FACTS = {
    "family-history-of-lung-cancer": "Family history of lung cancer",
    "emphysema": "Emphysema",
    "ever-smoker": "Has ever smoked",
    "extrathoracic-cancer": "Cancer outside of the chest",
    "fdg-uptake": "Uptake of FDG by the nodule: none, faint, moderate or intense",
    "nodule-risk": "Risk of lung cancer: low or high",
    "known-cancer": "Known cancer",
    "immunosuppressed": "Immunosuppressed",
}


def _fact(code: str) -> str:
    return f"%facts.where(code.coding.where(system = '{SYSTEM}' and code = '{code}').exists()).first().value"


def _flag(code: str) -> str:
    """1 or 0; nothing where nobody said."""
    return f"iif({_fact(code)}.exists(), iif({_fact(code)} = true, 1, 0), {{}})"


def _choice(code: str) -> str:
    return f"iif({_fact(code)}.coding.exists(), {_fact(code)}.coding.code.first(), {{}})"


def _any(*codes: str) -> str:
    return "%words.where(" + " or ".join(f"$this = '{code}'" for code in codes) + ").exists()"


def _subsolid(negated: str = "") -> str:
    return (
        "%lesions.where(hasMember.resolve().value.coding.where(code = '112120' or code = 'part-solid')"
        f".exists(){negated}).count()"
    )


def _day(moment: str) -> str:
    """The Julian day number of a moment's date."""
    text = f"{moment}.toString()"
    year, month, day = (f"{text}.substring({at}, {n}).toInteger()" for at, n in ((0, 4), (5, 2), (8, 2)))
    early = f"((14 - {month}) div 12)"
    y = f"({year} + 4800 - {early})"
    return (
        f"{day} + (153 * ({month} + 12 * {early} - 3) + 2) div 5 + 365 * {y} + {y} div 4 - {y} div 100"
        f" + {y} div 400 - 32045"
    )


REPORT = {
    "identity": "imagingStudy.reference.first() & ' ' & meta.tag.where(system = 'urn:hutong:adapter').code.first()",
    "study": "imagingStudy.resolve().first()",
    "seen": "iif(%study.started.exists(), %study.started, iif(effective.exists(), effective, issued))",
    # Fetched for a comparison: what it shows is known, and nothing is asked for because of it.
    "fetched": "%study.meta.tag.where(system = 'urn:hutong:study' and code = 'prior').exists()",
    "patient": "subject.resolve().first()",
    "age": (
        "iif(%patient.birthDate.exists() and %seen.exists(), %seen.toString().substring(0, 4).toInteger()"
        " - %patient.birthDate.toString().substring(0, 4).toInteger()"
        " - iif(%seen.toString().substring(5, 5) < %patient.birthDate.toString().substring(5, 5), 1, 0), {})"
    ),
    "lesions": (
        "result.resolve().where(value.coding.where(system = 'http://snomed.info/sct' and code = '27925004').exists())"
    ),
    "solids": _subsolid(".not()"),
    "subsolids": _subsolid(),
    "statements": "conclusionCode.coding.code",
    "facts": (
        f"Observation?subject={_SUBJECT}&status=preliminary,final,amended,corrected&_sort=-date&code="
        + ",".join(f"{SYSTEM}|{code}" for code in FACTS)
    ),
    "conditions": f"Condition?subject={_SUBJECT}",
    "familyHistory": _flag("family-history-of-lung-cancer"),
    "emphysema": _flag("emphysema"),
    "smoker": _flag("ever-smoker"),
    "extrathoracic": _flag("extrathoracic-cancer"),
    "uptake": _choice("fdg-uptake"),
    "riskStated": _choice("nodule-risk"),
    # Who was not said to be at low risk is followed as one at high risk.
    "risk": "iif(%riskStated = 'low', 'low', 'high')",
    "female": "iif(%patient.gender = 'female', 1, iif(%patient.gender = 'male', 0, {}))",
    "cancer": (
        f"({_flag('known-cancer')} = 1).combine({_flag('extrathoracic-cancer')} = 1).combine(%conditions.where("
        "verificationStatus.coding.where(code = 'refuted' or code = 'entered-in-error').exists().not()"
        " and code.coding.where((system = 'http://hl7.org/fhir/sid/icd-10'"
        " or system = 'http://hl7.org/fhir/sid/icd-10-cm') and code.startsWith('C')).exists()).exists()).anyTrue()"
    ),
    "immunosuppressed": f"({_flag('immunosuppressed')} = 1).anyTrue()",
    "eligible": "iif(%age.exists(), %age >= 35, false) and %cancer.not() and %immunosuppressed.not()",
    "orders": "(basedOn.resolve() | %study.basedOn.resolve()).where($this is ServiceRequest)",
    "contexts": (
        "%orders.reasonCode.coding.code | %orders.code.coding.code | %study.reasonCode.coding.code"
        " | %setting.coding.code | %settingContext.coding.code"
    ),
    "country": "%patient.address.country.select($this.upper())",
    "guideline": (
        "iif(%contexts.where($this = 'recist-1-1').exists(), 'none',"
        " iif(%contexts.where($this = 'fleischner-2017' or $this = 'incidental-nodule').exists(), 'fleischner-2017',"
        " iif(%contexts.where($this = 'lung-rads-2022').exists(), 'lung-rads-2022',"
        " iif(%contexts.where($this = 'c-lung-rads').exists()"
        " or %country.where($this = 'CN' or $this = 'CHN' or $this = 'CHINA' or $this = '中国').exists(),"
        " 'c-lung-rads', 'lung-rads-2022'))))"
    ),
}

LESION = {
    "identity": (
        "%identity & ' ' & iif(%lesion.focus.reference.exists(), %lesion.focus.reference.first(), %lesion.id)"
    ),
    "words": f"%lesion.{_WORDS}",
    "density": f"iif({_any('112120')}, 'ground-glass', iif({_any('part-solid')}, 'part-solid', 'solid'))",
    "densityStated": f"iif({_any('112120', 'part-solid', 'solid')}, %density, {{}})",
    "mean": f"%lesion.select({_MEAN})",
    "mm3": f"%lesion.select({_VOLUME})",
    "diameter": "%mean.round(1)",
    "mm": "%mean.round(0)",
    # The diameter decides where both are given.
    "volume": "iif(%mean.exists(), {}, %mm3.round(0))",
    "part": f"%lesion.select({_PART}).round(1)",
    "partVolume": f"iif(%part.exists(), {{}}, %lesion.select({_PART_VOLUME}).round(0))",
    "probabilityStated": "%lesion.hasMember.resolve().where(code.coding.where(code = '111047').exists()).value.first()",
    "probability": "%probabilityStated.value / iif(%probabilityStated.code = '%', 100, 1)",
    "spiculated": (f"iif({_any('112136')}, 1, iif({_any('smooth', '112135', '263706005', '300841009')}, 0, {{}}))"),
    "upper": (
        "iif(%lesion.bodySite.coding.where(code = '45653009').exists(), 1,"
        " iif(%lesion.bodySite.coding.where(code = '72481006' or code = '90572001').exists(), 0, {}))"
    ),
    "earlier": f"Observation?focus={_FOCUS}&code={_DCM}|125007&{_STANDING}&{_BEFORE}&_sort=-date",
    "recent": "%earlier.where(effective >= %seen - 12 months)",
    "grown": (
        f"%recent.select({_MEAN}).where(%diameter - $this.round(1) > 1.5).exists()"
        f" or %recent.select({_PART}).where(%part - $this.round(1) > 1.5).exists()"
        f" or (%part.exists() and %recent.where({_WORDS}.where($this = '112120').exists()).exists())"
    ),
    "grownLong": f"%earlier.select({_MEAN}).where(%diameter - $this.round(1) > 1.5).exists()",
    "compared": f"%diameter.exists() and %earlier.select({_MEAN}).exists()",
    # A word of ours decides; then what was measured, and only then what a tracker calls no change, or smaller.
    "change": (
        f"iif({_any('growing')}, 'growing', iif({_any('slow-growing')}, 'slow-growing',"
        f" iif({_any('new', '129721008')}, 'new', iif({_any('stable')}, 'stable', iif(%grown, 'growing',"
        f" iif(%grownLong, 'slow-growing', iif(%compared or {_any('129723006', '19776001')}, 'stable',"
        " 'baseline')))))))"
    ),
}

#: What a comparison of the two studies says of a lesion, as a report's numbers: whoever compared knows better.
_TOLD = "%lesion.hasMember.resolve().where(code.coding.where(code = '{}').exists())"

CHANGE = {
    "changeTold": _TOLD.format("volume-change"),
    "measured": f"%earlier.where({_VOLUME}.exists()).first()",
    "mm3Before": f"%measured.select({_VOLUME})",
    "days": f"({_day('%seen')}) - ({_day('%measured.effective')})",
    "ratio": "%mm3 / %mm3Before",
    "doublingTime": "%days * (2).ln() / %ratio.ln()",
    # Readers' volumes differ by a quarter without any growth: the interval is what that leaves open.
    "shortest": "%days * (2).ln() / (%ratio * 1.25).ln()",
    "longest": "%days * (2).ln() / (%ratio / 1.25).ln()",
}
