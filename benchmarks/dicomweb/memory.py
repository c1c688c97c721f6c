"""Memory by process, from /proc: proportional set size (shared pages divided among those that share them) and RSS."""

from pathlib import Path

from benchmarks.dicomweb.servers import Server


def resident(process: int) -> float:
    """RSS of one process, MB."""
    return _field(process, "Rss")


def by_part(server: Server) -> dict[str, float]:
    """Hutong's PSS by part, MB: web and DIMSE (with their children), PostgreSQL, and the rest."""
    figures = {"web": 0.0, "dimse": 0.0, "postgres": 0.0, "rest": 0.0}
    for process, part in parts(server.process, server.http_port, server.dimse_port).items():
        figures[part] += _field(process, "Pss")
    return figures


def parts(supervisor: int, http_port: int, dimse_port: int) -> dict[int, str]:
    """The processes below Hutong's first one, each with the part that it belongs to."""
    parents = _parents()
    family = [process for process in parents if supervisor in _line(process, parents)]
    web, dimse = _listener(family, http_port), _listener(family, dimse_port)
    found = {}
    for process in family:
        line = {process, *_line(process, parents)}
        if "postgres" in _command(process):
            found[process] = "postgres"
        else:
            found[process] = "web" if line & web else "dimse" if line & dimse else "rest"
    return found


def _parents() -> dict[int, int]:
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            found[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return found


def _line(process: int, parents: dict[int, int]) -> list[int]:
    """All ancestors."""
    line: list[int] = []
    while process := parents.get(process, 0):
        line.append(process)
    return line


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _listener(processes: list[int], port: int) -> set[int]:
    """Those of the processes that listen on the port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    inodes = {f"socket:[{line[9]}]" for line in lines if line[3] == "0A" and int(line[1].split(":")[1], 16) == port}
    return {process for process in processes if inodes & _open(process)}


def _open(process: int) -> set[str]:
    found: set[str] = set()
    try:
        for entry in Path(f"/proc/{process}/fd").iterdir():
            found.add(str(entry.readlink()))
    except OSError:
        pass
    return found


def _field(process: int, name: str) -> float:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith(f"{name}:")), 0.0)
