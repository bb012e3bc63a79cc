"""The tiny model."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("tokenizers")

from dynamo_nb.llm.tiny import LINES, VOCABULARY, tiny_model


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_another_process_generates_the_same_bytes(tmp_path):
    code = f"from dynamo_nb.llm.tiny import tiny_model; tiny_model({str(tmp_path / 'other')!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert contents(tiny_model(tmp_path / "own")) == contents(tmp_path / "other")


def test_a_complete_folder_is_not_changed(tmp_path):
    folder = tiny_model(tmp_path / "model")
    (folder / "tokenizer.json").write_text("mine")
    assert tiny_model(folder) == folder
    assert (folder / "tokenizer.json").read_text() == "mine"


def test_an_incomplete_folder_is_completed(tmp_path):
    folder = tiny_model(tmp_path / "model")
    whole = contents(folder)
    (folder / "config.json").unlink()
    (folder / "model.safetensors").write_bytes(b"half")
    assert contents(tiny_model(folder)) == whole


def test_no_temporary_files_are_left(tmp_path):
    tiny_model(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_by_default_it_is_in_the_cache_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path in tiny_model().parents


def test_its_tokenizer_restores_every_text(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model(tmp_path / "model"))
    assert len(tokenizer) == VOCABULARY
    for line in (*LINES, "bytes \x00 \U0010ffff 漢字", ""):
        assert tokenizer.decode(tokenizer.encode(line)) == line


def test_its_chat_template_ends_with_the_assistant_role_and_rejects_unknown_roles(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model(tmp_path / "model"))
    chat = [{"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<|user|>\nHi<|end|>\n<|assistant|>\n"
    with pytest.raises(Exception, match="no such role: king"):
        tokenizer.apply_chat_template([{"role": "king", "content": "Hi"}], tokenize=False)


def test_its_weights_are_a_valid_safetensors_file(tmp_path):
    folder = tiny_model(tmp_path / "model")
    safetensors = pytest.importorskip("safetensors.numpy")
    weights = safetensors.load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    assert weights["lm_head.weight"].shape == (config["vocab_size"], config["hidden_size"])
    assert len({weight.tobytes() for name, weight in weights.items() if "norm" not in name}) == 16
