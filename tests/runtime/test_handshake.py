import asyncio
import os

import msgspec
import pytest

from dynamo_nb.errors import DeploymentError, NoInstances, ProtocolError, StartError
from dynamo_nb.runtime import server_connection
from dynamo_nb.runtime.connection_settings import Access
from dynamo_nb.runtime.handshake import CALLER, NONCE, WORKER, key_of, proof
from dynamo_nb.runtime.wire import CANCEL, HELLO, OPEN, VERSION


def pack(*messages):
    encoded = [msgspec.msgpack.encode(message) for message in messages]
    return b"".join(len(data).to_bytes(4, "little") + data for data in encoded)


async def answer(args, kwargs, context):
    return "answered"


@pytest.fixture
def serve(connect, space):
    async def make(**options):
        runtime = await connect(**options)
        await runtime.namespace(space).component("C").serve({"e": answer})
        return runtime

    return make


@pytest.fixture
def call(connect, space):
    async def make(**options):
        client = await (await connect(**options)).namespace(space).component("C").endpoint("e").client()
        return await client.call()

    return make


async def unpack(reader):
    return msgspec.msgpack.decode(await reader.readexactly(int.from_bytes(await reader.readexactly(4), "little")))


async def ended(reader):
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("secret", ["of this deployment", "\x00ÿ", None])
async def test_both_ends_with_the_secret_talk(serve, call, secret):
    await serve(secret=secret)
    assert await call(secret=secret) == "answered"


async def test_a_call_of_one_with_another_secret_is_not_answered(serve, call, caplog):
    await serve(secret="one")
    with pytest.raises(ProtocolError, match="does not know the secret"):
        await call(secret="another")
    await serve(secret="another")
    assert await call(secret="another") == "answered"  # the other instance is passed by


async def test_one_without_a_secret_is_told_that_there_is_one(serve, call):
    await serve(secret="one")
    with pytest.raises(ProtocolError, match="requires the secret"):
        await call(secret="")


async def test_a_worker_without_the_secret_gets_no_request(serve, call):
    worker = await serve(secret="")
    with pytest.raises(ProtocolError, match="does not know the secret"):
        await call(secret="one")
    assert not worker.server.tasks


def test_the_key_is_the_secrets_or_that_of_the_token_of_nats():
    assert Access("nats://token@host:1").shared_secret == "token"
    assert Access("nats://host:1").shared_secret == Access("nats://user:password@host:1").shared_secret == ""
    assert Access("nats://token@host:1", secret="other").shared_secret == "other"
    assert Access("nats://token@host:1", secret="").shared_secret == ""
    assert key_of("") is None


async def hello(runtime):
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.server.port)
    nonce = os.urandom(NONCE)
    writer.write(pack((HELLO, 0, VERSION, nonce)))
    _, _, _, theirs, shown = await unpack(reader)
    assert shown == proof(key_of("one"), WORKER, runtime.instance_id, nonce, theirs)
    return reader, writer, nonce, theirs, shown


@pytest.mark.parametrize("kind", ["nothing", "random", "the worker's", "an older one", "another role's"])
async def test_without_the_right_proof_nothing_is_done(serve, kind, caplog):
    runtime, key = await serve(secret="one"), key_of("one")
    reader, writer, nonce, theirs, shown = await hello(runtime)
    wrong = {
        "nothing": None,
        "random": os.urandom(32),
        "the worker's": shown,
        "an older one": proof(key, CALLER, runtime.instance_id, nonce, os.urandom(NONCE)),
        "another role's": proof(key, WORKER, runtime.instance_id, nonce, theirs),
    }[kind]
    writer.write(pack((HELLO, 0, wrong), (OPEN, 1, next(iter(runtime.server.handlers)), [], {}, {})))
    assert await ended(reader)
    writer.close()
    assert [r.message for r in caplog.records if "does not know this deployment's secret" in r.message]
    assert len(caplog.records) == 1
    assert not runtime.server.half_open


async def test_no_frame_is_read_before_the_proof(serve, caplog):
    runtime = await serve(secret="one")
    reader, writer, *_ = await hello(runtime)
    writer.write(pack((CANCEL, 1)))
    assert await ended(reader)
    writer.close()
    reader, writer, *_ = await hello(runtime)
    writer.write((100_000).to_bytes(4, "little"))
    assert await ended(reader)
    writer.close()
    assert len(caplog.records) == 2


async def test_who_does_not_say_who_it_is_is_sent_away(serve, monkeypatch, caplog):
    monkeypatch.setattr(server_connection, "HANDSHAKE_TIMEOUT", 0.05)
    runtime = await serve(secret="one")
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.server.port)
    writer.write(b"\x20")
    assert await ended(reader)
    writer.close()
    reader, writer, *_ = await hello(runtime)
    assert await ended(reader)
    writer.close()
    assert [record.message.count("did not authenticate") for record in caplog.records] == [1, 1]


@pytest.mark.usefixtures("impatient")
async def test_connections_are_counted(serve, call, monkeypatch, caplog):
    monkeypatch.setattr(server_connection, "MAX_HALF_OPEN", 2)
    runtime = await serve(secret="one")
    held = [await hello(runtime) for _ in range(2)]
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.server.port)
    assert await ended(reader)
    writer.close()
    assert len(caplog.records) == 1
    for reader, writer, nonce, theirs, _ in held:
        writer.write(pack((HELLO, 0, proof(key_of("one"), CALLER, runtime.instance_id, nonce, theirs))))
        writer.write(pack((OPEN, 1, next(iter(runtime.server.handlers)), [], {}, {})))
        assert (await unpack(reader))[2] == "answered"
    assert await call(secret="one") == "answered"
    monkeypatch.setattr(server_connection, "MAX_CONNECTIONS", 3)
    with pytest.raises(NoInstances):
        await call(secret="one")
    for _, writer, *_ in held:
        writer.close()


async def test_sockets_stand_where_only_their_owner_can_enter(connect, space, tmp_path):
    runtime = await connect(socket_dir=tmp_path / "new")
    await runtime.listen()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(StartError, match="other users can enter"):
        await (await connect(socket_dir=tmp_path / "open")).listen()


async def test_a_caller_that_does_not_read_is_not_asked_for_more(serve, tmp_path):
    runtime = await serve(socket_dir=tmp_path)
    path = next(iter(runtime.server.handlers)) + "x"  # whose answer is a long one
    reader, writer = await asyncio.open_unix_connection(runtime.server.socket)
    writer.write(pack((HELLO, 0, VERSION, None)))
    await unpack(reader)
    [session] = runtime.server.connections
    reader._transport.pause_reading()
    paused, pause = asyncio.Event(), session.pause_writing
    session.pause_writing = lambda: (pause(), paused.set())
    stream = 0
    while not paused.is_set():
        stream += 1
        writer.write(pack((OPEN, stream, path, [], {}, {})))
        await writer.drain() if writer.transport.get_write_buffer_size() < 100_000 else await asyncio.sleep(0)
    assert not session._transport.is_reading()
    writer.transport.abort()
    await session.disconnected


async def test_a_caller_without_a_certificate_of_the_authority_is_not_answered(
    serve, call, certificates, new_certificates
):
    worker = await serve(tls=str(certificates), host="127.0.0.1")
    assert await call(tls=str(certificates)) == "answered"
    with pytest.raises(ProtocolError, match="no encrypted connection"):
        await call(tls=str(new_certificates()))
    with pytest.raises(ProtocolError, match="one end encrypts, the other does not"):
        await call()
    assert not worker.server.tasks


async def test_what_is_no_tls_gets_nothing_from_an_encrypted_worker(serve, certificates):
    worker = await serve(tls=str(certificates), host="127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.server.port)
    writer.write(pack((HELLO, 0, VERSION, b"n" * NONCE)))
    async with asyncio.timeout(10):
        assert len(await reader.read()) < 64  # an alert at most
    writer.close()


def test_access_is_taken_from_the_environment_where_nothing_is_given(monkeypatch, certificates):
    for name, value in {"NATS_SERVER": "nats://a:1", "DYNAMO_SECRET": "s", "DYNAMO_PLANE": "nats"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DYNAMO_TLS", str(certificates))
    assert Access.of() == Access("nats://a:1", secret="s", plane="nats", tls=str(certificates))
    assert Access.of(nats_url="nats://b:1", plane="direct").nats_url == "nats://b:1"
    assert "'s'" not in repr(Access.of())
    assert "token" not in repr(Access("nats://token@host:1"))
    assert Access.of(secret="").shared_secret == ""


ELSEWHERE = {"nats_url": "nats://elsewhere:4222"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"plane": "carrier"}, "unknown plane 'carrier'"),
        ({"tls": "/nowhere"}, "the TLS files in /nowhere cannot be used"),
        ({**ELSEWHERE, "nats_tls": "/nowhere"}, "the TLS files in /nowhere cannot be used"),
        ({**ELSEWHERE, "nats_credentials": "/nowhere/a"}, "the credentials of NATS are not a file: /nowhere/a"),
        ({"nats_credentials": "/nowhere/a"}, "credentials or TLS files for NATS are set, but no NATS"),
        ({"secret": b"bytes"}, "the secret is not text"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_started(given, said):
    with pytest.raises(DeploymentError, match=said):
        Access.of(**given)
