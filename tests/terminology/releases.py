"""Small releases in the formats that publishers give theirs out in, made up from the formats' descriptions."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from benchmarks import rf2

FSN, SYNONYM, PREFERRED = "900000000000003001", "900000000000013009", "900000000000548007"
US, CASE = "900000000000509007", "900000000000448009"
IS_A, SITE, INFERRED, SOME = "116680003", "363698007", "900000000000011006", "900000000000451002"
DEFINED, PRIMITIVE = "900000000000073002", "900000000000074008"
#: id: (term, parents, active)
SNOMED = {
    138875005: ("Whole", [], 1),
    100001001: ("Disorder", [138875005], 1),
    100002008: ("Lung disorder", [100001001], 1),
    100003003: ("Nodule of lung", [100002008], 1),
    100004009: ("Lung", [138875005], 1),
    100005005: ("Old nodule", [], 0),
}


def snomed(path: Path) -> Path:
    """Six concepts: one inactive, one with an attribute, one in a reference set and in a map."""
    rows = list(enumerate(SNOMED.items()))
    rf2.write(
        path,
        {
            "sct2_Concept": [
                (id, active, DEFINED if id == 100003003 else PRIMITIVE) for _, (id, (_, _, active)) in rows
            ],
            "sct2_Description": [
                *((1000 + n, 1, id, "en", FSN, f"{term} (thing)", CASE) for n, (id, (term, _, _)) in rows),
                *((2000 + n, 1, id, "en", SYNONYM, f"{term} by another name", CASE) for n, (id, (term, _, _)) in rows),
                *((3000 + n, 1, id, "en", SYNONYM, term, CASE) for n, (id, (term, _, _)) in rows),
                (4000, 1, 100003003, "zh", SYNONYM, "肺结节", CASE),
                (4001, 0, 100003003, "en", SYNONYM, "A withdrawn name", CASE),
            ],
            "sct2_Relationship": [
                *((f"5{n}", 1, id, over, 0, IS_A, INFERRED, SOME) for n, (id, (_, more, _)) in rows for over in more),
                ("59", 1, 100003003, 100004009, 1, SITE, INFERRED, SOME),
                ("58", 0, 100003003, 100004009, 0, IS_A, INFERRED, SOME),
            ],
            "der2_cRefset_Language": [(f"l{n}", 1, US, 3000 + n, PREFERRED) for n, _ in rows],
            "der2_Refset_Simple": [("s1", 1, 700001, 100003003), ("s2", 0, 700001, 100002008)],
            "der2_sRefset_SimpleMap": [("m1", 1, 446608001, 100003003, "C34"), ("m2", 1, 446608001, 100004009, "")],
            "der2_ssRefset_ModuleDependency": [("d1", 1, "900000000000534007", "900000000000012004", "x", "x")],
        },
    )
    return path


def loinc(path: Path) -> Path:
    """Two terms, three parts, an answer list, the hierarchy and a Chinese variant."""
    files = {
        "LoincTable/Loinc.csv": (
            "LOINC_NUM,COMPONENT,PROPERTY,TIME_ASPCT,SYSTEM,SCALE_TYP,METHOD_TYP,CLASS,VersionLastChanged,"
            "DefinitionDescription,STATUS,SHORTNAME,LONG_COMMON_NAME,DisplayName\n"
            '1-8,Nodules,Num,Pt,Lung,Qn,CT,RAD,2.9,"Counted, once",ACTIVE,Nodules Lung CT,'
            "Nodules in Lung by CT,Nodules\n"
            "2-6,Nodules,Num,Pt,Lung,Ord,,RAD,2.10,,DEPRECATED,,Nodules grade,\n"
        ),
        "AccessoryFiles/PartFile/Part.csv": (
            "PartNumber,PartTypeName,PartName,PartDisplayName,Status\n"
            "LP1-1,COMPONENT,Nodules,Nodule count,ACTIVE\nLP2-9,SYSTEM,Lung,Lung,ACTIVE\n"
            "LP9-0,CLASS,Old,Old,DEPRECATED\n"
        ),
        "AccessoryFiles/PartFile/LoincPartLink_Primary.csv": (
            "LoincNumber,LongCommonName,PartNumber,PartName,PartCodeSystem,PartTypeName,LinkTypeName,Property\n"
            "1-8,x,LP1-1,Nodules,http://loinc.org,COMPONENT,Primary,http://loinc.org/property/COMPONENT\n"
            "1-8,x,LP2-9,Lung,http://loinc.org,SYSTEM,Primary,http://loinc.org/property/SYSTEM\n"
        ),
        "AccessoryFiles/AnswerFile/AnswerList.csv": (
            "AnswerListId,AnswerListName,AnswerStringId,LocalAnswerCode,SequenceNumber,DisplayText\n"
            "LL1-0,Grades,LA1-4,1,1,Few\nLL1-0,Grades,LA2-2,2,2,Many\nLL2-8,Other,LA2-2,2,1,Many\n"
        ),
        "AccessoryFiles/AnswerFile/LoincAnswerListLink.csv": (
            "LoincNumber,LongCommonName,AnswerListId,AnswerListName,AnswerListLinkType,ApplicableContext\n"
            "2-6,x,LL1-0,Grades,NORMATIVE,\n"
        ),
        "AccessoryFiles/ComponentHierarchyBySystem/ComponentHierarchyBySystem.csv": (
            "PATH_TO_ROOT,SEQUENCE,IMMEDIATE_PARENT,CODE,CODE_TEXT\n"
            ",1,,LP0-3,All\nLP0-3,1,LP0-3,LP1-1,Nodules\nLP0-3.LP1-1,1,LP1-1,1-8,Nodules\nLP0-3.LP1-1,2,LP1-1,2-6,Grade\n"
        ),
        "AccessoryFiles/LinguisticVariants/zhCN5LinguisticVariant.csv": (
            "LOINC_NUM,COMPONENT,PROPERTY,TIME_ASPCT,SYSTEM,SCALE_TYP,METHOD_TYP,LONG_COMMON_NAME,LinguisticVariantDisplayName\n"
            "1-8,结节,计数,时间点,肺,定量型,CT,,\n"
        ),
    }
    with zipfile.ZipFile(path, "w") as out:
        for name, text in files.items():
            out.writestr(f"Loinc_2.10/{name}", text)
    return path


CLAML = """<?xml version="1.0"?>
<ClaML version="2.0.0"><Title name="ICD-10-WHO" version="2019" date="2018-01-01">ICD-10</Title>
<Modifier code="S1"/>
<ModifierClass modifier="S1" code="0">
 <Rubric kind="preferred"><Label xml:lang="en">closed</Label></Rubric></ModifierClass>
<ModifierClass modifier="S1" code="1">
 <Rubric kind="preferred"><Label xml:lang="en">open</Label></Rubric></ModifierClass>
<Class kind="chapter" code="X"><SubClass code="J00-J06"/>
 <Rubric kind="preferred"><Label xml:lang="en">Respiratory</Label></Rubric></Class>
<Class kind="block" code="J00-J06"><SuperClass code="X"/>
 <Rubric kind="preferred"><Label xml:lang="en">Upper</Label></Rubric></Class>
<Class kind="category" code="J00"><SuperClass code="J00-J06"/>
 <Rubric kind="preferred"><Label xml:lang="en">Common <Fragment>cold</Fragment></Label></Rubric>
 <Rubric kind="inclusion"><Label xml:lang="en">Coryza</Label></Rubric></Class>
<Class kind="category" code="J01."><SuperClass code="J00-J06"/>
 <ModifiedBy code="S1"><ValidModifierClass code="1"/></ModifiedBy>
 <Rubric kind="preferred"><Label xml:lang="en">Sinus</Label></Rubric></Class>
</ClaML>"""
CM = """<?xml version="1.0"?><ICD10CM.tabular><version>2024</version>
<chapter><name>19</name><desc>Injury</desc><section id="S52"><desc>Forearm</desc>
<diag><name>S52</name><desc>Fracture of forearm</desc>
<sevenChrDef><extension char="A">initial encounter</extension>
 <extension char="D">subsequent encounter</extension></sevenChrDef>
<diag><name>S52.5</name><desc>Fracture of lower end</desc>
 <inclusionTerm><note>Colles</note></inclusionTerm></diag></diag>
</section></chapter></ICD10CM.tabular>"""
RADLEX_CSV = """Class ID,Preferred Label,Synonyms,Definitions,Obsolete,Parents
http://radlex.org/RID/RID1,RadLex entity,,,false,
http://radlex.org/RID/RID1301,lung,pulmo|lungs,Organ of breathing.,false,http://radlex.org/RID/RID1
http://radlex.org/RID/RID9,old,,,true,http://radlex.org/RID/RID1
http://elsewhere/x,other,,,false,
"""
RADLEX_OWL = """<?xml version="1.0"?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#" xmlns:owl="http://www.w3.org/2002/07/owl#"
 xmlns:RID="http://www.radlex.org/RID/">
<owl:Ontology rdf:about="http://www.radlex.org/RID"><owl:versionInfo>4.2</owl:versionInfo></owl:Ontology>
<owl:Class rdf:about="http://www.radlex.org/RID/RID1">
 <RID:Preferred_name xml:lang="en">RadLex entity</RID:Preferred_name></owl:Class>
<owl:Class rdf:about="http://www.radlex.org/RID/RID1301"><rdfs:label>x</rdfs:label>
 <RID:Preferred_name xml:lang="en">lung</RID:Preferred_name><RID:Synonym xml:lang="de">Lunge</RID:Synonym>
 <rdfs:subClassOf rdf:resource="http://www.radlex.org/RID/RID1"/></owl:Class>
</rdf:RDF>"""
UCUM = """<?xml version="1.0"?><root xmlns="http://unitsofmeasure.org/ucum-essence" version="2.1">
<prefix Code="m" CODE="M"><name>milli</name></prefix>
<base-unit Code="m" CODE="M" dim="L">
 <name>meter</name><printSymbol>m</printSymbol><property>length</property></base-unit>
<unit Code="[in_i]" CODE="[IN_I]" isMetric="no" class="intcust"><name>inch</name><name>international inch</name>
 <property>length</property></unit></root>"""


def package(path: Path, *resources: dict[str, Any]) -> Path:
    """A FHIR package with the resources."""
    with tarfile.open(path, "w:gz") as out:
        for one in resources:
            body = json.dumps(one).encode()
            member = tarfile.TarInfo(f"package/{one['resourceType']}-{one['id']}.json")
            member.size = len(body)
            out.addfile(member, io.BytesIO(body))
    return path
