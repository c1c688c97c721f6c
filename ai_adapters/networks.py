"""The networks of a nodule bundle as functions: the detector, and those that help it where there are such."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ai_adapters.onnx_session import BrokenModel, OnnxSession, open_session
from ai_adapters.registry import Bundle
from ai_adapters.tasks.nodule_detection import Block, Network, Pointer
from ai_adapters.tasks.reduction import Judge
from ai_adapters.watch import Watch

#: What the manifest calls the second network and the one that points at small nodules; the other is the detector.
REDUCTION, SMALL = "reduction", "small"


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What reads a volume."""

    read: Network
    #: None where the bundle has one network alone.
    judge: Judge | None
    pointer: Pointer | None
    #: The execution provider that they run on.
    provider: str


def networks(
    bundle: Bundle, threads: int | None = None, providers: Sequence[str] = (), watch: Watch | None = None
) -> Networks:
    """The bundle's networks; raises BrokenModel where one does not load."""
    first = next(name for name in bundle.models if name not in (REDUCTION, SMALL))
    sessions = {name: open_session(model, threads, providers) for name, model in bundle.models.items()}
    return Networks(
        read=_reader(bundle, first, sessions[first], watch),
        judge=_judge(bundle, sessions[REDUCTION], watch) if REDUCTION in sessions else None,
        pointer=_pointer(bundle, sessions[SMALL], watch) if SMALL in sessions else None,
        provider=sessions[first].providers[0],
    )


def _reader(bundle: Bundle, model: str, session: OnnxSession, watch: Watch | None) -> Network:
    names = bundle.manifest.outputs
    feed = session.session.get_inputs()[0].name

    def read(blocks: Block) -> tuple[Block, Block]:
        if watch is not None:
            watch.feed(model, blocks[:, None])
        heat, share = session.run([names["heat"], names["share"]], {feed: blocks[:, None]})
        if heat.ndim != 5 or share.ndim != 5:
            raise BrokenModel("the outputs are not of (batch, 1, z, y, x)")
        return heat[:, 0], share[:, 0]

    return read


def _judge(bundle: Bundle, session: OnnxSession, watch: Watch | None) -> Judge:
    names = bundle.manifest.outputs
    asked = [names[key] for key in ("chance", "offset", "density") if key in names]
    feed = session.session.get_inputs()[0].name

    def judge(cubes: Block) -> tuple[Block, Block, Block]:
        if watch is not None:
            watch.feed(REDUCTION, cubes)
        chance, offset, *more = session.run(asked, {feed: cubes})
        density = more[0] if more else np.zeros((len(cubes), 0), dtype=np.float32)
        if chance.shape != (len(cubes), 1) or offset.shape != (len(cubes), 3) or len(density) != len(cubes):
            raise BrokenModel("the outputs are not chance (batch, 1), offset (batch, 3) and density (batch, 3)")
        return chance, offset, density

    return judge


def _pointer(bundle: Bundle, session: OnnxSession, watch: Watch | None) -> Pointer:
    name = bundle.manifest.outputs["small"]
    feed = session.session.get_inputs()[0].name

    def point(blocks: Block) -> Block:
        if watch is not None:
            watch.feed(SMALL, blocks[:, None])
        (small,) = session.run([name], {feed: blocks[:, None]})
        if small.shape != blocks[:, None].shape:
            raise BrokenModel("the output small is not of the input's shape")
        return small[:, 0]

    return point
