"""The image name of a bundle."""

from exported_programs import LINK, SERVICES, module


def test_the_tag_of_the_image_changes_with_the_graph(source, tmp_path):
    program = module(source, SERVICES + LINK)
    tags = []
    for name, suffix in (("a", "x"), ("b", "x"), ("c", "y")):
        folder = program.export(tmp_path / name, f"--Backend.suffix={suffix}")
        line = next(li for li in (folder / "README.md").read_text().splitlines() if "docker push" in li)
        tags.append(line.split()[-1])
        assert tags[-1] in (folder / "kubernetes.yaml").read_text()
    assert tags[0] == tags[1] != tags[2]
