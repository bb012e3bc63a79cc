"""The model that is made on the spot."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("tokenizers")

from dynamo_nb.llm.tiny_model import LINES, VOCABULARY, tiny_model


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_another_process_makes_the_same_bytes(tmp_path):
    code = f"from dynamo_nb.llm.tiny_model import tiny_model; tiny_model({str(tmp_path / 'other')!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert contents(tiny_model(tmp_path / "own")) == contents(tmp_path / "other")


def test_a_folder_that_is_complete_is_left_as_it_is(tmp_path):
    folder = tiny_model(tmp_path / "model")
    (folder / "tokenizer.json").write_text("mine")
    assert tiny_model(folder) == folder
    assert (folder / "tokenizer.json").read_text() == "mine"


def test_a_folder_whose_making_was_cut_short_is_completed(tmp_path):
    folder = tiny_model(tmp_path / "model")
    whole = contents(folder)
    (folder / "config.json").unlink()
    (folder / "model.safetensors").write_bytes(b"half")
    assert contents(tiny_model(folder)) == whole


def test_nothing_else_is_left_beside_it(tmp_path):
    tiny_model(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_by_default_it_is_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path in tiny_model().parents


def test_its_tokenizer_gives_every_text_back(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model(tmp_path / "model"))
    assert len(tokenizer) == VOCABULARY
    for line in (*LINES, "bytes \x00 \U0010ffff 漢字", ""):
        assert tokenizer.decode(tokenizer.encode(line)) == line


def test_its_chat_template_asks_for_an_answer_and_refuses_an_unknown_role(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model(tmp_path / "model"))
    chat = [{"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<|user|>\nHi<|end|>\n<|assistant|>\n"
    with pytest.raises(Exception, match="no such role: king"):
        tokenizer.apply_chat_template([{"role": "king", "content": "Hi"}], tokenize=False)


def test_its_weights_are_in_the_format_of_safetensors(tmp_path):
    folder = tiny_model(tmp_path / "model")
    safetensors = pytest.importorskip("safetensors.numpy")
    weights = safetensors.load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    assert weights["lm_head.weight"].shape == (config["vocab_size"], config["hidden_size"])
    assert len({weight.tobytes() for name, weight in weights.items() if "norm" not in name}) == 16
