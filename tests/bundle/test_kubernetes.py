"""The DynamoGraphDeployment of a bundle."""

import json
from pathlib import Path

import jsonschema
import pytest
from exported_programs import module

from dynamo_nb.bundle.kubernetes import NATS, RUNTIME_VERSION, TYPE_LABEL, component_names, manifest
from dynamo_nb.config.yaml_layer import from_yaml
from dynamo_nb.errors import BundleError
from dynamo_nb.graph.spec import EndpointSpec, GraphSpec, ServiceSpec

SCHEMA = json.loads((Path(__file__).parent / "dgd_v1beta1.schema.json").read_text())
HTTP = [EndpointSpec(name="say", stream=False, transports=["default", "http"])]


def spec_of(*services, name="hello"):
    return GraphSpec(name=name, entry=services[-1].name, services={s.name: s for s in services}, edges=[])


def a_service(name="Backend", **fields):
    return ServiceSpec(name=name, namespace="default", target=f"code:{name}", **fields)


def deployed(*services, **options):
    found = from_yaml(manifest(spec_of(*services, **options), "registry.example.com/hello:1.2.3"))
    jsonschema.validate(found, SCHEMA)
    return found


def component(**fields):
    return deployed(a_service(**fields))["spec"]["components"][0]


def container(**fields):
    (found,) = component(**fields)["podTemplate"]["spec"]["containers"]
    assert found["name"] == "main"
    return found


def test_the_manifest_matches_the_schema(hello, tmp_path):
    folder = hello.export(tmp_path / "bundle")
    found = from_yaml((folder / "kubernetes.yaml").read_text())
    jsonschema.validate(found, SCHEMA)
    assert found["metadata"] == {"name": "frontend"} or found["metadata"] == {"name": "hello"}
    assert [(c["name"], c["type"], c["replicas"]) for c in found["spec"]["components"]] == [
        ("Backend", "worker", 2),
        ("Frontend", "frontend", 1),
    ]


def test_a_pod_runs_one_worker_of_one_service_in_the_namespace_of_the_deployment():
    found = container(workers=3)
    assert found["command"] == ["dynamo", "serve", "/bundle"]
    assert found["args"] == [
        "--no-kernels",
        "--service-name=Backend",
        "--namespace=$(DYN_NAMESPACE)",
        "--worker-host=0.0.0.0",
        "--Backend.ServiceArgs.workers=1",
    ]


def test_pods_find_each_other_through_the_cluster_s_nats():
    nats, secret = deployed(a_service())["spec"]["env"]
    assert nats == {"name": "NATS_SERVER", "value": NATS}
    assert secret["name"] == "DYNAMO_SECRET"
    assert secret["valueFrom"]["secretKeyRef"]["optional"]


def test_http_services_have_a_port_and_are_probed_there():
    found = container(endpoints=HTTP)
    assert found["ports"] == [{"name": "http", "containerPort": 8000}]
    assert {"--http-host=0.0.0.0", "--http-port=8000"} <= set(found["args"])
    paths = {probe: found[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def test_other_services_have_probes_instead_of_the_operators_own():
    found = container()
    for probe, question in (("startupProbe", "ready"), ("livenessProbe", "alive"), ("readinessProbe", "ready")):
        assert found[probe]["exec"]["command"] == ["python", "-m", "dynamo_nb.worker.probe", question]
    assert "ports" not in found


def test_resources_are_requests_and_limits_with_gpus_in_the_limits():
    assert container(gpu=2, cpu="500m", memory="20Gi")["resources"] == {
        "requests": {"cpu": "500m", "memory": "20Gi"},
        "limits": {"cpu": "500m", "memory": "20Gi", "nvidia.com/gpu": "2"},
    }
    assert container(gpu=1)["resources"] == {"limits": {"nvidia.com/gpu": "1"}}
    assert "resources" not in container()


def test_a_share_of_a_gpu_becomes_a_whole_one_with_a_comment():
    assert container(gpu=0.5)["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    text = manifest(spec_of(a_service(gpu=0.5)), "image:1.0.0")
    assert "# Backend requests 0.5 GPU" in text


def test_environment_and_labels_come_from_the_service():
    found = component(envs={"DAY": "2024-01-01"}, labels={"team": "a", TYPE_LABEL: "decode"})
    assert found["podTemplate"]["metadata"] == {"labels": {"team": "a"}}
    assert found["podTemplate"]["spec"]["containers"][0]["env"] == [{"name": "DAY", "value": "2024-01-01"}]


@pytest.mark.parametrize(
    ("image", "semantic"),
    [
        ("nvcr.io/a/b:1.2.3", True),
        ("b:v1.2.3-rc1", True),
        ("nvcr.io:5000/a/b", False),
        ("b:latest", False),
        ("b:0a1b2c", False),
        ("b:1.2.3@sha256:0a1b", True),
        ("b@sha256:0a1b", False),
    ],
)
def test_the_manifest_has_a_version_if_the_tag_is_not_one(image, semantic):
    found = component(image=image)
    assert found["podTemplate"]["spec"]["containers"][0]["image"] == image
    assert found.get("runtimeVersionOverride") == (None if semantic else RUNTIME_VERSION)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"name": "Frontend", "endpoints": HTTP}, "frontend"),
        ({"name": "Router"}, "worker"),
        ({"name": "PrefillWorker"}, "prefill"),
        ({"name": "VllmDecodeWorker"}, "decode"),
        ({"name": "Planner", "endpoints": HTTP}, "planner"),
        ({"name": "Picker", "labels": {TYPE_LABEL: "epp"}}, "epp"),
    ],
)
def test_the_type_comes_from_label_name_or_endpoints(fields, kind):
    assert component(**fields)["type"] == kind


def test_an_unknown_type_is_an_error():
    with pytest.raises(BundleError, match="did you mean 'prefill'"):
        component(labels={TYPE_LABEL: "prefil"})


def test_only_services_with_workers_are_components():
    idle = a_service("Idle", running=False)
    local = a_service("Local", enabled=False)
    assert [c["name"] for c in deployed(idle, local, a_service())["spec"]["components"]] == ["Backend"]


def test_names_are_converted_to_the_form_of_kubernetes():
    assert component_names(["Vllm_Worker", "Backend", "a.b"]) == {
        "Vllm_Worker": "Vllm-Worker",
        "Backend": "Backend",
        "a.b": "a-b",
    }
    assert deployed(a_service(), name="My Graph_2")["metadata"] == {"name": "my-graph-2"}


@pytest.mark.parametrize("names", [["\u540e"], ["a" * 64], ["Backend", "backend"], ["A_b", "A-b"]])
def test_the_error_of_an_invalid_name_has_the_service(names):
    with pytest.raises(BundleError) as raised:
        component_names(names)
    assert names[-1] in str(raised.value)


def test_more_than_25_components_are_an_error():
    assert len(deployed(*(a_service(f"S{n}") for n in range(25)))["spec"]["components"]) == 25
    with pytest.raises(BundleError, match="26 services"):
        deployed(*(a_service(f"S{n}") for n in range(26)))


def test_the_command_of_a_pod_is_accepted_by_dynamo_serve(source, tmp_path, capsys, monkeypatch):
    from dynamo_nb.cli.main import main

    text = "from dynamo_nb import dynamo_endpoint, service\n\n\n@service(workers=4)\nclass Backend:\n"
    text += "    @dynamo_endpoint()\n    async def generate(self, text: str):\n        yield text\n"
    folder = module(source, text, "Backend").export(tmp_path / "bundle")
    (found,) = from_yaml((folder / "kubernetes.yaml").read_text())["spec"]["components"]
    (main_container,) = found["podTemplate"]["spec"]["containers"]
    words = [*main_container["command"], *main_container["args"], "--dry-run"]
    words = [word.replace("/bundle", str(folder)).replace("$(DYN_NAMESPACE)", "team-hello") for word in words]
    monkeypatch.setattr("sys.argv", words)
    main()
    shown = capsys.readouterr().out
    assert '"namespace": "team-hello"' in shown
    assert '"workers": 1' in shown
