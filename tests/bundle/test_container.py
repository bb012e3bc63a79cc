"""What the image of a bundle is called."""

from exported_programs import LINK, SERVICES, module


def test_the_image_has_another_tag_whenever_the_graph_is_another(source, tmp_path):
    made = module(source, SERVICES + LINK)
    tags = []
    for name, suffix in (("a", "x"), ("b", "x"), ("c", "y")):
        folder = made.export(tmp_path / name, f"--Backend.suffix={suffix}")
        line = next(li for li in (folder / "README.md").read_text().splitlines() if "docker push" in li)
        tags.append(line.split()[-1])
        assert tags[-1] in (folder / "kubernetes.yaml").read_text()
    assert tags[0] == tags[1] != tags[2]
