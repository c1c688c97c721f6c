"""What is said of a nodule besides its place and size, as coded descriptions with their method and confidence."""

from collections.abc import Iterator

from ai_adapters.density import CALCIUM, CONTENT, DENSITY, Density
from dicom_sr.findings import Quality
from terminology.private_scheme import ATTENUATION_RULE


def described(density: Density) -> Iterator[Quality]:
    """The descriptions of one nodule."""
    sure = round(density.confidence, 2)
    yield Quality(concept=DENSITY, value=density.kind, method=ATTENUATION_RULE, confidence=sure)
    if density.calcified:
        yield Quality(concept=CONTENT, value=CALCIUM, method=ATTENUATION_RULE)
