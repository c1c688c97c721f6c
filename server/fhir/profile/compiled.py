"""Rules of a profile as closures, each made once: only what the base standard does not ask already is checked.

https://hl7.org/fhir/R4/profiling.html
"""

from collections.abc import Sequence

from server.errors import BadRequest, Unprocessable
from server.fhir.definitions import Definitions, Element
from server.fhir.fhirpath import Expression, Node, compile_expression
from server.fhir.profile.coded import bound
from server.fhir.profile.discriminator import belonging
from server.fhir.profile.instance import Check, Item, Profiles, Situation
from server.fhir.profile.rule import BY_TYPE, BY_URL, STRUCTURE, ProfileConstraint, Rule
from server.fhir.profile.slicing import ListCheck, Slice, sliced
from server.fhir.profile.target import profiled, referring, typed
from server.fhir.profile.values import equals, fits, is_beyond, shown
from server.fhir.validate.problem import Problem, Problems, wrong

#: Types that everything of a place is, so that nothing is said by naming them.
_ANY = frozenset({"", "Resource", "DomainResource", "Element", "BackboneElement", "Base"})
_SAYS_NOTHING = Rule(label="")


class Compiler:
    """Makes the checks of one profile."""

    def __init__(self, root: Rule, kind: str, url: str, profiles: Profiles) -> None:
        self._root = root
        self._kind = kind
        self._profiles = profiles
        self._definitions: Definitions = profiles.definitions
        #: Ends each message: which profile asks it.
        self._tail = f" (profile {url})"
        self._recursive: dict[str, Check | None] = {}
        stated = self._definitions.constraints.values()
        self._base_keys = frozenset(each.key for constraints in stated for each in constraints)

    def check(self) -> Check | None:
        """The check of the whole profile; None where it asks nothing that the standard does not."""
        return self._rule(self._root, self._kind, None, _SAYS_NOTHING)

    def _rule(self, rule: Rule, path: str, element: Element | None, general: Rule) -> Check | None:
        """The check of one value of an element; ``general`` is the rule for the same outside its slice."""
        checks = [*self._value_checks(rule, element, general)]
        inside = self._inside(rule, path, general)
        if inside is not None:
            checks.append(inside)
        return _all(checks)

    def _inside(self, rule: Rule, path: str, general: Rule) -> Check | None:
        if rule.content.startswith("#") and not rule.children:
            return self._recursion(rule.content)
        known = self._definitions.elements(path) if path else None
        parts: list[tuple[str, ListCheck]] = []
        for name, child in rule.children.items():
            element = (known or {}).get(name)
            part = self._list(child, element, general.children.get(name, _SAYS_NOTHING))
            if part is not None:
                parts.append((name, part))
        if not parts:
            return None
        values = self._profiles.elements.values

        def check(node: Node, situation: Situation) -> Problems:
            problems: list[Problem] = []
            around = situation.at(node.value)
            for name, part in parts:
                problems += part(values(node, name), around)
            return problems or None

        return check

    def _recursion(self, content: str) -> Check:
        """The check of an element that is defined where another one is; looked up at each call, as it holds itself."""
        if content not in self._recursive:
            self._recursive[content] = None
            rule: Rule | None = self._root
            for name in content.split(".")[1:]:
                rule = rule.children.get(name.removesuffix("[x]")) if rule is not None else None
            if rule is not None:
                self._recursive[content] = self._inside(rule, content.removeprefix("#"), _SAYS_NOTHING)

        def check(node: Node, situation: Situation) -> Problems:
            known = self._recursive[content]
            return known(node, situation) if known is not None else None

        return check

    def _list(self, rule: Rule, element: Element | None, general: Rule) -> ListCheck | None:
        """The check of all values of an element, seen from what holds it."""
        path = self._path(rule, element)
        item = self._rule(rule, path, element, general)
        count = self._count(rule, element, general)
        slices = self._slices(rule, path, element)
        if item is None and count is None and slices is None:
            return None
        name = rule.name

        def check(items: Sequence[Item], situation: Situation) -> list[Problem]:
            problems = count(items, situation) if count is not None else []
            if item is not None:
                for each in items:
                    found = item(each.node, situation)
                    if found is not None:
                        problems += each.at(name, found)
            if slices is not None:
                problems += slices(items, situation)
            return problems

        return check

    def _path(self, rule: Rule, element: Element | None) -> str:
        """Where the standard defines the children of an element; empty where several types are left."""
        if element is not None and element.content_path:
            return element.content_path
        codes = rule.codes or frozenset(element.types if element is not None else ())
        return next(iter(codes)) if len(codes) == 1 else ""

    def _count(self, rule: Rule, element: Element | None, general: Rule) -> ListCheck | None:
        low = 0 if rule.min is None or rule.min == general.min else rule.min
        if element is not None and low <= element.min:
            low = 0
        high = None if rule.max in (None, "*", general.max) else int(str(rule.max))
        if element is not None and rule.max == element.max:
            high = None
        if not low and high is None:
            return None
        label, name, tail = rule.label.partition(".")[2], rule.name, self._tail

        def check(items: Sequence[Item], _situation: Situation) -> list[Problem]:
            if len(items) < low:
                have = f"there are {len(items)} of it" if items else "it is missing"
                return wrong("required", f"{label}: {have}; give at least {low}{tail}", name)
            if high is not None and len(items) > high:
                cure = "remove it" if high == 0 else f"leave at most {high}"
                return items[high].at(name, wrong("structure", f"{label}: there are {len(items)} of it; {cure}{tail}"))
            return []

        return check

    def _slices(self, rule: Rule, path: str, element: Element | None) -> ListCheck | None:
        if not rule.slices:
            return None
        slicing = rule.slicing or (BY_URL if rule.name in ("extension", "modifierExtension") else BY_TYPE)
        found = [self._one_slice(name, each, rule, path, element) for name, each in rule.slices.items()]
        return sliced(slicing, found, rule.name, self._tail)

    def _one_slice(self, name: str, rule: Rule, whole: Rule, path: str, element: Element | None) -> Slice:
        slicing = whole.slicing or (BY_URL if rule.name in ("extension", "modifierExtension") else BY_TYPE)
        own = self._path(rule, element) if rule.types else path
        check = self._rule(rule, own, element, whole)
        most = None if rule.max in (None, "*") else int(str(rule.max))
        if element is not None and not element.many and most == 1:
            most = None
        return Slice(
            name=name,
            element=rule.name,
            belongs=belonging(rule, slicing, self._profiles, lambda one: self._rule(one, "", None, _SAYS_NOTHING)),
            min=rule.min or 0,
            max=most,
            check=check,
            within=self._slices(rule, own, element),
        )

    def _value_checks(self, rule: Rule, element: Element | None, general: Rule) -> list[Check]:
        """What is asked of the value itself."""
        checks = [*self._types(rule, element, general)]
        if rule.fixed and rule.fixed != general.fixed:
            checks.append(self._fixed(rule.fixed[0]))
        if rule.pattern and rule.pattern != general.pattern:
            checks.append(self._pattern(rule.pattern[0]))
        binding = rule.binding
        if binding is not None and binding != general.binding:
            stated = (element.binding_strength, element.value_set) if element is not None else ()
            if binding.most or (binding.strength, binding.value_set.partition("|")[0]) != stated:
                found = bound(binding, self._tail)
                checks += [found] if found is not None else []
        checks += self._limits(rule, general)
        stated_before = {each.expression for each in general.constraints.values()}
        for constraint in rule.constraints.values():
            if constraint.expression not in stated_before and not self._is_base(constraint):
                checks.append(self._constraint(constraint))
        return checks

    def _is_base(self, constraint: ProfileConstraint) -> bool:
        """Whether the standard itself states the invariant."""
        if not constraint.source:
            return constraint.key in self._base_keys
        return constraint.source.removeprefix(STRUCTURE) in self._definitions.types

    def _types(self, rule: Rule, element: Element | None, general: Rule) -> list[Check]:
        checks: list[Check] = []
        types = rule.types or ()
        codes = rule.codes
        if codes and not codes & _ANY and codes != general.codes and (element is None or codes != set(element.types)):
            checks.append(typed(types, self._tail))
        for each in types:
            if each.profiles and each.profiles != general.profiles:
                checks.append(profiled(each))
            if each.code != "Reference" or (each.targets == general.targets and not each.aggregation):
                continue
            targets = tuple(sorted(url.removeprefix(STRUCTURE) for url in each.targets))
            if each.aggregation or element is None or targets != tuple(sorted(element.targets)):
                checks.append(referring(each, self._tail))
        return checks

    def _fixed(self, fixed: object) -> Check:
        details = f"the value has to be exactly {shown(fixed)}; set it to that{self._tail}"
        return lambda node, _: None if equals(node.value, fixed) else wrong("value", details)

    def _pattern(self, pattern: object) -> Check:
        details = f"the value has to have {shown(pattern)}; add that{self._tail}"
        return lambda node, _: None if fits(node.value, pattern) else wrong("value", details)

    def _limits(self, rule: Rule, general: Rule) -> list[Check]:
        checks: list[Check] = []
        longest, tail, definitions = rule.max_length, self._tail, self._definitions
        if longest is not None and longest != general.max_length:
            details = f"it has more than {longest} characters; shorten it{tail}"
            checks.append(lambda node, _: wrong("too-long", details) if _length(node) > longest else None)
        for limit, least in ((rule.min_value, True), (rule.max_value, False)):
            if limit is not None:
                checks.append(_limit(limit, least, definitions, tail))
        return checks

    def _constraint(self, constraint: ProfileConstraint) -> Check:
        details = f"breaks {constraint.key}: {constraint.human or constraint.expression}{self._tail}"
        severity = "error" if constraint.severity == "error" else "warning"
        definitions = self._definitions
        try:
            expression: Expression = compile_expression(constraint.expression)
        except BadRequest:
            return _untold(f"the expression of {constraint.key} makes no sense, so it was not checked{self._tail}")

        def check(node: Node, situation: Situation) -> Problems:
            profiles = situation.profiles
            context = {"resource": situation.resource, "rootResource": situation.root}
            try:
                found = expression.evaluate(
                    node, context=context, model=definitions, resolve=situation.resolved,
                    member_of=lambda value, url: is_member(profiles, value, url),
                )  # fmt: skip
            except (Unprocessable, BadRequest) as error:
                text = f"{constraint.key} can't be evaluated ({error.details}){self._tail}"
                return [Problem(code="not-supported", details=text, severity="information")]
            if found and found[0] is False:
                return [Problem(code="invariant", details=details, severity=severity)]
            return None

        return check


def is_member(profiles: Profiles, value: object, value_set: str) -> bool:
    """memberOf() by the value sets at hand; Unprocessable where nobody knows."""
    codings = value.get("coding", [value]) if isinstance(value, dict) else [{"code": value}]
    answers = [
        profiles.holds(value_set, str(each["system"]) if "system" in each else None, str(each.get("code")))
        for each in codings
        if isinstance(each, dict) and each.get("code") is not None
    ]
    if True not in answers and None in answers:
        raise Unprocessable(f"the value set {value_set} is not at hand")
    return True in answers


def _limit(limit: tuple[str, object], least: bool, definitions: Definitions, tail: str) -> Check:
    details = f"the value is {'less' if least else 'more'} than {shown(limit[1])}; correct it{tail}"
    return lambda node, _: wrong("value", details) if is_beyond(node, limit, definitions, least=least) else None


def _length(node: Node) -> int:
    return len(node.value) if isinstance(node.value, str) else 0


def _untold(details: str) -> Check:
    return lambda _node, _situation: [Problem(code="not-supported", details=details, severity="information")]


def _all(checks: Sequence[Check]) -> Check | None:
    """One check of several."""
    if len(checks) < 2:
        return checks[0] if checks else None

    def check(node: Node, situation: Situation) -> Problems:
        problems: list[Problem] = []
        for each in checks:
            found = each(node, situation)
            if found is not None:
                problems += found
        return problems or None

    return check
