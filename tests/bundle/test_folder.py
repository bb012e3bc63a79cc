"""Export: the written files, the errors, and the same graph after reading."""

import hashlib
import os
from pathlib import Path

import pytest
from exported_programs import LINK, SERVICES, module, notebook

from dynamo_nb.bundle import export, read_spec
from dynamo_nb.bundle.folder import exported_part
from dynamo_nb.config.effective import resolve
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.deployment.config_layers import layers_of
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.errors import BundleError, ConfigError
from dynamo_nb.program import find


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def plan_of(folder, *words):
    return Plan.of(find(str(folder)), layers_of([], list(words)))


def without_origins(spec):
    return spec.model_copy(update={"origins": {}})


def test_a_bundle_is_read_as_the_exported_spec(hello, tmp_path):
    spec = hello.plan("--Backend.suffix=!").spec
    folder = hello.export(tmp_path / "bundle", "--Backend.suffix=!")
    again = plan_of(folder).spec
    assert without_origins(again) == exported_part(spec) == read_spec(folder)
    assert again.services["Spare"].running is False
    assert again.origins["Backend.suffix"].startswith(str(folder / "config.yaml"))


def test_a_bundle_lists_an_unlinked_dependency_by_name(tmp_path):
    cells = [SERVICES.replace("depends(Spare)", 'depends("Spare")'), LINK.strip()]
    folder = notebook(tmp_path, *cells).export(tmp_path / "bundle")
    again = plan_of(folder)
    assert [(e.target, e.active) for e in again.program.graph.edges] == [("Backend", True), ("Spare", False)]
    assert set(again.spec.started) == {"Backend", "Frontend"}
    assert [again.spec.fingerprint(n) for n in again.spec.started] == [
        read_spec(folder).fingerprint(n) for n in again.spec.started
    ]


def test_an_exported_bundle_is_exported_as_the_same_bytes(hello, tmp_path):
    first = hello.export(tmp_path / "first")
    plan = plan_of(first)
    second = export(plan.spec, plan.code, tmp_path / "second")
    assert files_of(first) == files_of(second)


def test_a_bundle_has_the_code_that_workers_import(hello, tmp_path):
    plan = hello.plan()
    folder = hello.export(tmp_path / "bundle")
    assert {f"code/{m.path}": m.text.encode() for m in plan.code.modules} == {
        path: data for path, data in files_of(folder).items() if path.startswith("code/")
    }


def test_the_configuration_file_alone_has_the_same_effect(hello, tmp_path):
    words = ['--Backend.suffix="1e3"', "--Backend.ServiceArgs.envs.DAY=2024-01-01"]
    layers = layers_of([{"Frontend.extra": [1, None]}], words)
    plan = Plan.of(find(hello.target, hello.folder), layers)
    folder = export(plan.spec, plan.code, tmp_path / "bundle")
    graph = plan.program.graph
    definitions = [graph.services[name] for name in graph.running]
    alone = resolve(definitions, [yaml_layer(folder / "config.yaml")], known=graph.services)
    assert alone.as_json() == plan.config.as_json()


def test_a_scaled_deployment_is_exported_with_its_number_of_workers(hello, tmp_path):
    plan = hello.plan()
    folder = export(plan.spec.with_workers({"Backend": 5}), plan.code, tmp_path / "bundle")
    assert plan_of(folder).spec.services["Backend"].workers == 5


def test_other_configuration_overrides_that_of_the_bundle(hello, tmp_path):
    folder = hello.export(tmp_path / "bundle", "--Backend.suffix=?")
    (tmp_path / "other.yaml").write_text("Backend: {ServiceArgs: {workers: 7}}\n")
    layers = layers_of([tmp_path / "other.yaml"], ["--Backend.suffix=!"])
    config = Plan.of(find(str(folder)), layers).config.as_json()
    assert config["Backend"]["suffix"] == "!"
    assert config["Backend"]["ServiceArgs"]["workers"] == 7
    assert config["Backend"]["ServiceArgs"]["dynamo"]["namespace"] == "hello"


def test_a_misspelt_service_in_the_configuration_of_a_bundle_is_an_error(hello, tmp_path):
    folder = hello.export(tmp_path / "bundle")
    (folder / "config.yaml").write_text("Backand: {suffix: x}\n")
    with pytest.raises(ConfigError, match="did you mean 'Backend'"):
        plan_of(folder)


@pytest.mark.parametrize("alter", ["append", "remove"])
def test_the_error_lists_altered_code(hello, tmp_path, alter):
    folder = hello.export(tmp_path / "bundle")
    path = next(iter(read_spec(folder).code))
    if alter == "append":
        (folder / "code" / path).write_bytes((folder / "code" / path).read_bytes() + b"\n")
    else:
        (folder / "code" / path).unlink()
    with pytest.raises(BundleError, match=f"{path} is (altered|missing)"):
        find(str(folder))


def test_the_error_of_an_invalid_graph_file_has_the_path(hello, tmp_path):
    folder = hello.export(tmp_path / "bundle")
    text = (folder / "graph.yaml").read_text()
    (folder / "graph.yaml").write_text(text.replace("workers: 2", "workers: many"))
    with pytest.raises(BundleError, match=r"services\.Backend\.workers"):
        find(str(folder))


def test_a_bundle_is_replaced_and_other_files_in_it_stay(hello, tmp_path):
    folder = hello.export(tmp_path / "bundle", "--Backend.suffix=a")
    (folder / "values.yaml").write_text("mine")
    hello.export(folder, "--Backend.suffix=b")
    assert plan_of(folder).config.as_json()["Backend"]["suffix"] == "b"
    assert (folder / "values.yaml").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "source"]


def test_an_empty_folder_is_filled(hello, tmp_path):
    (tmp_path / "bundle").mkdir()
    assert (hello.export(tmp_path / "bundle") / "graph.yaml").is_file()


@pytest.mark.parametrize("name", ["file", "full"])
def test_other_files_and_folders_are_not_overwritten(hello, tmp_path, name):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(BundleError, match=r"bundle") as raised:
        hello.export(tmp_path / name)
    assert raised.value.where == str(tmp_path / name)
    assert {path: data for path, data in files_of(tmp_path).items() if "__pycache__" not in path} == {
        path: data for path, data in before.items() if "__pycache__" not in path
    }


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_the_current_directory_is_not_replaced(hello, tmp_path, monkeypatch, inside):
    folder = tmp_path / "bundle"
    (folder / inside).mkdir(parents=True)
    monkeypatch.chdir(folder / inside)

    with pytest.raises(BundleError, match="the current directory is in the folder of the bundle"):
        hello.export(folder)

    (Path.cwd() / "still").touch()


def test_a_folder_that_cannot_be_created_is_an_error(hello):
    with pytest.raises(BundleError, match=r"cannot be written: .*\n  where: /proc/none\n  hint: choose"):
        hello.export(Path("/proc/none"))


def test_a_graph_that_kubernetes_does_not_allow_keeps_the_old_bundle(source, tmp_path):
    folder = module(source, SERVICES + LINK).export(tmp_path / "bundle")
    before = files_of(folder)
    text = SERVICES.replace('"namespace": "hello"}, workers=2', '"name": "\u540e"}').replace("@dynamo_api()", "")
    with pytest.raises(BundleError, match="\u540e"):
        module(source, text + LINK).export(folder)
    assert files_of(folder) == before


def test_environment_variables_and_paths_are_not_written(hello, tmp_path, monkeypatch):
    monkeypatch.setenv("NATS_SERVER", "nats://user:hidden-credential@example.com")
    monkeypatch.setenv("HF_TOKEN", "hidden-credential")
    written = b"".join(files_of(hello.export(tmp_path / "bundle")).values())
    assert b"hidden-credential" not in written
    assert os.fsencode(tmp_path) not in written


def test_a_bundle_does_not_replace_imported_modules(source, tmp_path):
    program = module(source, SERVICES + LINK)
    own = program.plan().program.graph.services["Backend"].cls
    folder = program.export(tmp_path / "bundle")
    read = find(str(folder)).graph.services["Backend"].cls
    assert read is not own
    assert program.plan().program.graph.services["Backend"].cls is own


def test_two_bundles_with_the_same_module_names_are_read_in_one_process(source, tmp_path):
    cells = SERVICES.strip().split("\n\n\n")
    first = notebook(source, *cells, LINK.strip()).export(tmp_path / "first")
    shout = [cell.replace("word + self.suffix", "word.upper() + self.suffix") for cell in cells]
    second = notebook(source, *shout, LINK.strip()).export(tmp_path / "second")
    for folder, upper in ((first, False), (second, True), (first, False)):
        backend = find(str(folder)).graph.services["Backend"]
        assert ("upper" in backend.endpoints["generate"].function.__code__.co_names) is upper


def test_carriage_returns_are_kept(source, tmp_path):
    program = module(source, "")
    path = source / (program.target.partition(":")[0] + ".py")
    path.write_bytes((SERVICES + LINK).replace("\n", "\r\n").encode())
    folder = program.export(tmp_path / "bundle")
    digest = f"sha256:{hashlib.sha256((folder / 'code' / path.name).read_bytes()).hexdigest()}"
    assert plan_of(folder).spec.code == {path.name: digest}


def test_a_bundle_with_a_disabled_service(source, tmp_path):
    text = SERVICES.replace('"namespace": "hello"}, workers=2', '"enabled": False}')
    folder = module(source, text + LINK).export(tmp_path / "bundle")
    assert list(plan_of(folder).spec.started) == ["Frontend"]
    assert "name: Backend" not in (folder / "kubernetes.yaml").read_text()


def test_sections_for_services_outside_the_graph_are_kept(source, tmp_path):
    other = '\n\n@service\nclass Elsewhere:\n    """Not reached."""\n'
    program = module(source, SERVICES + other + LINK)
    folder = program.export(tmp_path / "bundle", "--Elsewhere.ServiceArgs.dynamo.namespace=far")
    assert plan_of(folder).spec.config["Elsewhere"] == {"ServiceArgs": {"dynamo": {"namespace": "far"}}}


def test_a_key_that_the_class_reads_is_not_a_misspelling_in_a_bundle(hello, tmp_path):
    path = next(p for p in hello.folder.iterdir() if p.is_file())
    read = "self.suffix = suffix; self.more = ServiceConfig.get_instance().get('Backend', {}).get('suffixs')"
    text = path.read_text().replace("self.suffix = suffix", read)
    path.write_text(text.replace("dynamo_endpoint, service", "dynamo_endpoint, service, ServiceConfig"))
    folder = hello.export(tmp_path / "bundle", "--Backend.suffixs=x")
    assert plan_of(folder).config.as_json()["Backend"]["suffixs"] == "x"


def test_a_bundle_has_the_link_that_fills_an_interface(tmp_path, source):
    cells = [
        "from dynamo_nb import AbstractService, abstract_endpoint, depends, dynamo_endpoint, service",
        "class Worker(AbstractService):\n    @abstract_endpoint\n    async def go(self, x: int) -> int: ...",
        "@service\nclass Once(Worker):\n    @dynamo_endpoint()\n    async def go(self, x: int) -> int:\n        return x",
        "@service\nclass Twice(Worker):\n    @dynamo_endpoint()\n    async def go(self, x: int) -> int:\n        return 2 * x",
        "@service\nclass Frontend:\n    worker = depends(Worker)",
        "Frontend.link(Twice)",
    ]
    folder = notebook(source, *cells).export(tmp_path / "bundle")
    assert plan_of(folder).spec.services["Frontend"].bindings == {"worker": "Twice"}
