import asyncio
import os

import msgspec
import pytest

from dynamo_nb.errors import DeploymentError, NoInstances, ProtocolError, StartError
from dynamo_nb.runtime import server_connection
from dynamo_nb.runtime.connection_settings import ConnectionSettings
from dynamo_nb.runtime.handshake import CALLER, NONCE, WORKER, key_of, proof
from dynamo_nb.runtime.wire import CANCEL, HELLO, OPEN, VERSION


def pack(*messages):
    encoded = [msgspec.msgpack.encode(message) for message in messages]
    return b"".join(len(data).to_bytes(4, "little") + data for data in encoded)


async def answer(args, kwargs, context):
    return "answered"


@pytest.fixture
def serve(connect, space):
    async def serve(**options):
        runtime = await connect(**options)
        await runtime.namespace(space).component("C").serve({"e": answer})
        return runtime

    return serve


@pytest.fixture
def call(connect, space):
    async def call(**options):
        client = await (await connect(**options)).namespace(space).component("C").endpoint("e").client()
        return await client.call()

    return call


async def unpack(reader):
    return msgspec.msgpack.decode(await reader.readexactly(int.from_bytes(await reader.readexactly(4), "little")))


async def closed(reader):
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("secret", ["of this deployment", "\x00ÿ", None])
async def test_a_caller_with_the_secret_gets_an_answer(serve, call, secret):
    await serve(secret=secret)
    assert await call(secret=secret) == "answered"


async def test_a_caller_with_another_secret_gets_an_error(serve, call, caplog):
    await serve(secret="one")
    with pytest.raises(ProtocolError, match="does not know the secret"):
        await call(secret="another")
    await serve(secret="another")
    assert await call(secret="another") == "answered"  # the instance with another secret is skipped


async def test_the_error_of_a_caller_without_a_secret_says_that_one_is_required(serve, call):
    await serve(secret="one")
    with pytest.raises(ProtocolError, match="requires the secret"):
        await call(secret="")


async def test_a_worker_without_the_secret_gets_no_requests(serve, call):
    worker = await serve(secret="")
    with pytest.raises(ProtocolError, match="does not know the secret"):
        await call(secret="one")
    assert not worker.server.tasks


def test_the_secret_is_the_given_one_or_the_token_of_nats():
    assert ConnectionSettings("nats://token@host:1").shared_secret == "token"
    assert (
        ConnectionSettings("nats://host:1").shared_secret
        == ConnectionSettings("nats://user:password@host:1").shared_secret
        == ""
    )
    assert ConnectionSettings("nats://token@host:1", secret="other").shared_secret == "other"
    assert ConnectionSettings("nats://token@host:1", secret="").shared_secret == ""
    assert key_of("") is None


async def hello(runtime):
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.server.port)
    nonce = os.urandom(NONCE)
    writer.write(pack((HELLO, 0, VERSION, nonce)))
    _, _, _, worker_nonce, shown = await unpack(reader)
    assert shown == proof(key_of("one"), WORKER, runtime.instance_id, nonce, worker_nonce)
    return reader, writer, nonce, worker_nonce, shown


@pytest.mark.parametrize("kind", ["nothing", "random", "the worker's", "an older one", "another role's"])
async def test_a_caller_with_a_wrong_proof_is_disconnected(serve, kind, caplog):
    runtime, key = await serve(secret="one"), key_of("one")
    reader, writer, nonce, worker_nonce, shown = await hello(runtime)
    wrong = {
        "nothing": None,
        "random": os.urandom(32),
        "the worker's": shown,
        "an older one": proof(key, CALLER, runtime.instance_id, nonce, os.urandom(NONCE)),
        "another role's": proof(key, WORKER, runtime.instance_id, nonce, worker_nonce),
    }[kind]
    writer.write(pack((HELLO, 0, wrong), (OPEN, 1, next(iter(runtime.server.handlers)), [], {}, {})))
    assert await closed(reader)
    writer.close()
    assert [r.message for r in caplog.records if "does not know this deployment's secret" in r.message]
    assert len(caplog.records) == 1
    assert not runtime.server.half_open


async def test_no_other_frame_is_accepted_before_the_proof(serve, caplog):
    runtime = await serve(secret="one")
    reader, writer, *_ = await hello(runtime)
    writer.write(pack((CANCEL, 1)))
    assert await closed(reader)
    writer.close()
    reader, writer, *_ = await hello(runtime)
    writer.write((100_000).to_bytes(4, "little"))
    assert await closed(reader)
    writer.close()
    assert len(caplog.records) == 2


async def test_a_caller_that_does_not_authenticate_in_time_is_disconnected(serve, monkeypatch, caplog):
    monkeypatch.setattr(server_connection, "HANDSHAKE_TIMEOUT", 0.05)
    runtime = await serve(secret="one")
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.server.port)
    writer.write(b"\x20")
    assert await closed(reader)
    writer.close()
    reader, writer, *_ = await hello(runtime)
    assert await closed(reader)
    writer.close()
    assert [record.message.count("did not authenticate") for record in caplog.records] == [1, 1]


@pytest.mark.usefixtures("short_wait")
async def test_the_number_of_connections_is_limited(serve, call, monkeypatch, caplog):
    monkeypatch.setattr(server_connection, "MAX_HALF_OPEN", 2)
    runtime = await serve(secret="one")
    opened = [await hello(runtime) for _ in range(2)]
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.server.port)
    assert await closed(reader)
    writer.close()
    assert len(caplog.records) == 1
    for reader, writer, nonce, worker_nonce, _ in opened:
        writer.write(pack((HELLO, 0, proof(key_of("one"), CALLER, runtime.instance_id, nonce, worker_nonce))))
        writer.write(pack((OPEN, 1, next(iter(runtime.server.handlers)), [], {}, {})))
        assert (await unpack(reader))[2] == "answered"
    assert await call(secret="one") == "answered"
    monkeypatch.setattr(server_connection, "MAX_CONNECTIONS", 3)
    with pytest.raises(NoInstances):
        await call(secret="one")
    for _, writer, *_ in opened:
        writer.close()


async def test_the_folder_of_sockets_is_accessible_to_its_owner_only(connect, space, tmp_path):
    runtime = await connect(socket_dir=tmp_path / "new")
    await runtime.listen()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(StartError, match="other users can enter"):
        await (await connect(socket_dir=tmp_path / "open")).listen()


async def test_no_requests_are_read_from_a_caller_that_does_not_read_its_answers(serve, tmp_path):
    runtime = await serve(socket_dir=tmp_path)
    path = next(iter(runtime.server.handlers)) + "x"  # unknown, so that each answer is an error, and long
    reader, writer = await asyncio.open_unix_connection(runtime.server.socket)
    writer.write(pack((HELLO, 0, VERSION, None)))
    await unpack(reader)
    [connection] = runtime.server.connections
    reader._transport.pause_reading()
    paused, pause = asyncio.Event(), connection.pause_writing
    connection.pause_writing = lambda: (pause(), paused.set())
    stream = 0
    while not paused.is_set():
        stream += 1
        writer.write(pack((OPEN, stream, path, [], {}, {})))
        await writer.drain() if writer.transport.get_write_buffer_size() < 100_000 else await asyncio.sleep(0)
    assert not connection._transport.is_reading()
    writer.transport.abort()
    await connection.disconnected


async def test_a_caller_without_a_certificate_of_the_authority_gets_an_error(
    serve, call, certificates, new_certificates
):
    worker = await serve(tls=str(certificates), host="127.0.0.1")
    assert await call(tls=str(certificates)) == "answered"
    with pytest.raises(ProtocolError, match="no encrypted connection"):
        await call(tls=str(new_certificates()))
    with pytest.raises(ProtocolError, match="one end encrypts, the other does not"):
        await call()
    assert not worker.server.tasks


async def test_an_encrypted_worker_sends_nothing_without_tls(serve, certificates):
    worker = await serve(tls=str(certificates), host="127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.server.port)
    writer.write(pack((HELLO, 0, VERSION, b"n" * NONCE)))
    async with asyncio.timeout(10):
        assert len(await reader.read()) < 64  # an alert at most
    writer.close()


def test_missing_settings_are_read_from_the_environment(monkeypatch, certificates):
    for name, value in {"NATS_SERVER": "nats://a:1", "DYNAMO_SECRET": "s", "DYNAMO_PLANE": "nats"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DYNAMO_TLS", str(certificates))
    assert ConnectionSettings.of() == ConnectionSettings("nats://a:1", secret="s", plane="nats", tls=str(certificates))
    assert ConnectionSettings.of(nats_url="nats://b:1", plane="direct").nats_url == "nats://b:1"
    assert "'s'" not in repr(ConnectionSettings.of())
    assert "token" not in repr(ConnectionSettings("nats://token@host:1"))
    assert ConnectionSettings.of(secret="").shared_secret == ""


ELSEWHERE = {"nats_url": "nats://elsewhere:4222"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"plane": "carrier"}, "unknown plane 'carrier'"),
        ({"tls": "/nowhere"}, "the TLS files in /nowhere cannot be used"),
        ({**ELSEWHERE, "nats_tls": "/nowhere"}, "the TLS files in /nowhere cannot be used"),
        ({**ELSEWHERE, "nats_credentials": "/nowhere/a"}, "the credentials of NATS are not a file: /nowhere/a"),
        ({"nats_credentials": "/nowhere/a"}, "credentials or TLS files for NATS are set, but no NATS"),
        ({"secret": b"bytes"}, "the secret is not text"),
    ],
)
def test_invalid_settings_are_an_error_before_anything_starts(given, message):
    with pytest.raises(DeploymentError, match=message):
        ConnectionSettings.of(**given)
