"""What is said of a nodule besides its place and size, as coded descriptions with their method and confidence."""

from collections.abc import Iterator

from ai_adapters.attachment import SITE_INVOLVEMENT, attachments
from ai_adapters.density import CALCIFICATION, CALCIUM, CONTENT, DENSITY, Density
from ai_adapters.lesion import Lesion
from ai_adapters.margin import MARGINS
from dicom_sr.findings import Quality
from terminology.codings import Coding
from terminology.private_scheme import ATTENUATION_RULE, BENIGN_CALCIFICATION, CONTACT_RULE, OUTLINE_RULE


def described(lesion: Lesion, density: Density, margin: tuple[Coding, float] | None = None) -> Iterator[Quality]:
    """The descriptions of one nodule; ``margin`` with its chance, where one is told."""
    sure = round(density.confidence, 2)
    yield Quality(concept=DENSITY, value=density.kind, method=density.method, confidence=sure)
    if density.calcified:
        yield Quality(concept=CONTENT, value=CALCIUM, method=ATTENUATION_RULE)
    if density.benign_calcification:
        yield Quality(concept=CALCIFICATION, value=BENIGN_CALCIFICATION, method=ATTENUATION_RULE)
    for what, certain in attachments(lesion):
        yield Quality(concept=SITE_INVOLVEMENT, value=what, method=CONTACT_RULE, confidence=round(certain, 2))
    if margin is not None:
        yield Quality(concept=MARGINS, value=margin[0], method=OUTLINE_RULE, confidence=round(margin[1], 2))
