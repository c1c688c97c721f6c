"""What is said of a nodule besides its place and size, as coded descriptions with their method and confidence."""

from collections.abc import Iterator

from ai_adapters.attachment import SITE_INVOLVEMENT, attachments
from ai_adapters.density import CALCIUM, CONTENT, DENSITY, Density
from ai_adapters.lesion import Lesion
from dicom_sr.findings import Quality
from terminology.private_scheme import ATTENUATION_RULE, CONTACT_RULE


def described(lesion: Lesion, density: Density) -> Iterator[Quality]:
    """The descriptions of one nodule."""
    sure = round(density.confidence, 2)
    yield Quality(concept=DENSITY, value=density.kind, method=ATTENUATION_RULE, confidence=sure)
    if density.calcified:
        yield Quality(concept=CONTENT, value=CALCIUM, method=ATTENUATION_RULE)
    for what, certain in attachments(lesion):
        yield Quality(concept=SITE_INVOLVEMENT, value=what, method=CONTACT_RULE, confidence=round(certain, 2))
