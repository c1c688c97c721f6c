"""A person's name as a sentence has it (PS3.5 6.2.1)."""


def in_words(name: str) -> str:
    """Family name first, as it is written; the ideographic name behind it in brackets: ``Wang Fang (王芳)``."""
    alphabetic, _, rest = name.partition("=")
    ideographic = rest.partition("=")[0]
    said = " ".join(part for part in alphabetic.split("^")[:3] if part)
    characters = "".join(ideographic.split("^")[:2])
    return f"{said} ({characters})" if said and characters else said or characters
