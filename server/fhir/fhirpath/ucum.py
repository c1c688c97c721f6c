"""UCUM units in base units, so that quantities can be compared: https://ucum.org/ucum.

Only ratio-scale units: temperatures and logarithmic units compare with themselves alone. Factors from UCUM's tables
1 to 8; prefixes from its table 1. A unit is a product of powers of base units and a factor.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Canonical:
    """A unit in base units."""

    factor: Decimal
    #: Base unit and exponent, sorted, none with exponent 0.
    dimension: tuple[tuple[str, int], ...]


_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
_BINARY_PREFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}
_BASE = ("m", "s", "g", "rad", "K", "C", "cd", "10*", "[iU]", "[arb'U]", "Cel", "[degF]", "[pH]", "B", "Np")
#: Metric units (prefixes allowed): factor and definition in others.
_METRIC = {
    "L": ("1", "dm3"), "l": ("1", "dm3"), "mol": ("6.0221367E23", "1"), "sr": ("1", "rad2"), "Hz": ("1", "s-1"),
    "N": ("1", "kg.m/s2"), "Pa": ("1", "N/m2"), "J": ("1", "N.m"), "W": ("1", "J/s"), "A": ("1", "C/s"),
    "V": ("1", "J/C"), "F": ("1", "C/V"), "Ohm": ("1", "V/A"), "S": ("1", "Ohm-1"), "Wb": ("1", "V.s"),
    "T": ("1", "Wb/m2"), "H": ("1", "Wb/A"), "lm": ("1", "cd.sr"), "lx": ("1", "lm/m2"), "Bq": ("1", "s-1"),
    "Gy": ("1", "J/kg"), "Sv": ("1", "J/kg"), "bar": ("100000", "Pa"), "t": ("1000", "kg"), "ar": ("100", "m2"),
    "cal": ("4.184", "J"), "eq": ("1", "mol"), "osm": ("1", "mol"), "kat": ("1", "mol/s"), "U": ("1", "umol/min"),
    "eV": ("1.60217733E-19", "J"), "u": ("1.6605402E-24", "g"), "bit": ("1", "1"), "By": ("8", "bit"),
    "m[H2O]": ("9.80665", "kPa"), "m[Hg]": ("133.322", "kPa"), "Ci": ("37", "GBq"), "R": ("0.000258", "C/kg"),
    "RAD": ("100", "erg/g"), "REM": ("1", "RAD"), "dyn": ("1", "g.cm/s2"), "erg": ("1", "dyn.cm"),
    "P": ("1", "dyn.s/cm2"), "St": ("1", "cm2/s"), "G": ("0.0001", "T"), "g%": ("1", "g/dl"), "[IU]": ("1", "[iU]"),
    "kg": ("1000", "g"), "m[IU]": ("0.001", "[iU]"),
}  # fmt: skip
#: Units that take no prefix.
_PLAIN = {
    "%": ("0.01", "1"), "[ppth]": ("0.001", "1"), "[ppm]": ("0.000001", "1"), "[ppb]": ("0.000000001", "1"),
    "10^": ("1", "10*"), "[pi]": ("3.1415926535897932384626433832795028841971693993751058209749445923", "1"),
    "min": ("60", "s"), "h": ("3600", "s"), "d": ("86400", "s"), "wk": ("604800", "s"), "a": ("31557600", "s"),
    "a_j": ("31557600", "s"), "a_t": ("31556925.216", "s"), "a_g": ("31556952", "s"), "mo": ("2629800", "s"),
    "mo_j": ("2629800", "s"), "mo_s": ("2551442.976", "s"), "mo_g": ("2629746", "s"), "gon": ("0.9", "deg"),
    "deg": ("2", "[pi].rad/360"), "'": ("1", "deg/60"), "''": ("1", "'/60"), "[in_i]": ("2.54", "cm"),
    "[ft_i]": ("12", "[in_i]"), "[yd_i]": ("3", "[ft_i]"), "[mi_i]": ("5280", "[ft_i]"), "[lb_av]": ("7000", "[gr]"),
    "[oz_av]": ("437.5", "[gr]"), "[gr]": ("64.79891", "mg"), "[ston_av]": ("2000", "[lb_av]"),
    "[stone_av]": ("14", "[lb_av]"), "[gal_us]": ("231", "[in_i]3"), "[qt_us]": ("57.75", "[in_i]3"),
    "[pt_us]": ("28.875", "[in_i]3"), "[foz_us]": ("1.8046875", "[in_i]3"), "[cup_us]": ("16", "[tbs_us]"),
    "[tbs_us]": ("0.90234375", "[in_i]3"), "[tsp_us]": ("0.30078125", "[in_i]3"), "[in_i'H2O]": ("249.08891", "Pa"),
    "[in_i'Hg]": ("3386.3788", "Pa"), "[psi]": ("6894.75729316836", "Pa"), "atm": ("101325", "Pa"),
    "[Cal]": ("1", "kcal"), "[drp]": ("1", "ml/20"), "[lbf_av]": ("4.4482216152605", "N"), "Ao": ("0.1", "nm"),
    "[car_m]": ("0.2", "g"), "[Ch]": ("1", "mm/3"),
}  # fmt: skip
_COMPONENT = re.compile(r"(?P<unit>10\*|10\^|(?:\[[^\]]*\]|[A-Za-z_%'])+)?(?P<power>[+-]?\d+)?")
#: Annotations mean nothing; one that stands alone is the unit 1.
_ANNOTATION = re.compile(r"(?<=[^./])\{[^{}]*\}")
_LONE_ANNOTATION = re.compile(r"\{[^{}]*\}")


def _scaled(unit: Canonical, factor: Decimal, power: int = 1) -> Canonical:
    dimension = tuple((base, exponent * power) for base, exponent in unit.dimension)
    return Canonical(factor * unit.factor**power, dimension)


def _product(left: Canonical, right: Canonical) -> Canonical:
    exponents = dict(left.dimension)
    for base, exponent in right.dimension:
        exponents[base] = exponents.get(base, 0) + exponent
    dimension = tuple(sorted((base, exponent) for base, exponent in exponents.items() if exponent))
    return Canonical(left.factor * right.factor, dimension)


@lru_cache(maxsize=1024)
def _atom(name: str) -> Canonical | None:
    if name == "10*":
        return Canonical(Decimal(10), ())
    if name in _BASE:
        return Canonical(Decimal(1), ((name, 1),))
    defined = _PLAIN.get(name) or _METRIC.get(name)
    if defined is not None:
        unit = canonical(defined[1])
        return None if unit is None else _scaled(unit, Decimal(defined[0]))
    for length in (1, 2):
        prefix, rest = name[:length], name[length:]
        if rest and (rest in _METRIC or rest in _BASE) and (prefix in _PREFIXES or prefix in _BINARY_PREFIXES):
            unit = _atom(rest)
            power = Decimal(10) ** _PREFIXES[prefix] if prefix in _PREFIXES else Decimal(2) ** _BINARY_PREFIXES[prefix]
            return None if unit is None else _scaled(unit, power)
    return None


@lru_cache(maxsize=4096)
def canonical(unit: str) -> Canonical | None:
    """A UCUM expression in base units; None if it is not one that this table knows."""
    if len(unit) > 200:
        return None
    unit = _LONE_ANNOTATION.sub("1", _ANNOTATION.sub("", unit))
    result = Canonical(Decimal(1), ())
    divide = False
    if unit.startswith("/"):
        unit, divide = unit[1:], True
    for part in re.split(r"([./])", unit):
        if part in (".", "/"):
            divide = part == "/"
            continue
        component = _component(part)
        if component is None:
            return None
        result = _product(result, _scaled(component, Decimal(1), -1) if divide else component)
        divide = False
    return result


def _component(text: str) -> Canonical | None:
    match = _COMPONENT.fullmatch(text)
    if match is None or not text:
        return None
    name, power = match["unit"], match["power"]
    if name is None:
        if power is not None and abs(int(power)) == 0:
            return None
        return Canonical(Decimal(power), ()) if power is not None else Canonical(Decimal(1), ())
    atom = _atom(name)
    exponent = int(power) if power is not None else 1
    if atom is None or abs(exponent) > 40:
        return None
    return Canonical(atom.factor**exponent, tuple((base, each * exponent) for base, each in atom.dimension))
