"""Settings: where a value comes from, and what a wrong one is told."""

from pathlib import Path

import pytest

from server.errors import BadRequest
from server.settings import Peer, Settings, load, load_with_sources


def test_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "hutong.toml"
    file.write_text('study_quiet = 3.0\nhttp_port = 9000\n[[peers]]\nname = "pacs"\nae_title = "PACS"\nport = 4242\n')
    values, sources = load_with_sources(
        {"ae_title": "MINE", "host": None}, file=file, environment={"HUTONG_HTTP_PORT": "9001", "HOME": "/"}
    )
    assert (values.study_quiet, values.http_port, values.ae_title, values.host) == (3.0, 9001, "MINE", "127.0.0.1")
    assert values.peers == (Peer(name="pacs", ae_title="PACS", port=4242),)
    assert sources["study_quiet"] == f"file {file}"
    assert (sources["http_port"], sources["ae_title"], sources["host"]) == ("environment", "command line", "default")


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("pacs=ORTHANC@127.0.0.1:4242", Peer(name="pacs", ae_title="ORTHANC", host="127.0.0.1", port=4242)),
        ("web=http://[::1]:80/dicom+results", Peer(name="web", url="http://[::1]:80/dicom", send_results=True)),
    ],
)  # fmt: skip
def test_peers_from_the_environment(text: str, peer: Peer) -> None:
    assert load(environment={"HUTONG_PEERS": text}).peers == (peer,)


def test_tokens_of_a_peer_stay_out_of_sight(tmp_path: Path) -> None:
    file = tmp_path / "hutong.toml"
    file.write_text('[[peers]]\nname = "region"\ntoken = "s3cret"\nfhir_token = "s3cret"\n')
    (peer,) = load(file=file, environment={}).peers
    assert (peer.token, peer.fhir_token) == ("s3cret", "s3cret") and "s3cret" not in str(peer)


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"HUTONG_HTTP_PORT": "web"}, "http_port"),
        ({"HUTONG_WORKER": "perhaps"}, "worker"),
        ({"HUTONG_PEERS": "pacs=nowhere"}, "peers"),
        ({"HUTONG_CONFIG": "not-there.toml"}, "HUTONG_CONFIG"),
    ],
)
def test_a_wrong_value_names_its_place(environment: dict[str, str], place: str) -> None:
    with pytest.raises(BadRequest) as caught:
        load(environment=environment)
    assert caught.value.issues[0].expression == place


def test_an_unknown_setting_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hutong.toml"
    file.write_text("htp_port = 1\n")
    with pytest.raises(BadRequest, match="htp_port"):
        load(file=file, environment={})


@pytest.mark.parametrize(
    ("host", "needed"), [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("pacs", True)]
)
def test_tokens_are_needed_off_loopback(host: str, needed: bool) -> None:
    assert Settings(host=host).tokens_required is needed
