from pipeline.models.identity import content_of
from tests.pipeline.models.conftest import entry


def test_other_content_under_the_same_path_is_another_model(tmp_path):
    (tmp_path / "net.onnx").write_text("one")
    conf, cache = entry("onnx", path=str(tmp_path / "net.onnx")), tmp_path / "cache"
    one = content_of(conf, cache)
    assert content_of(conf, cache) == one
    (tmp_path / "net.onnx").write_text("two")
    assert content_of(conf, cache) != one


def test_every_file_of_a_folder_counts(tmp_path):
    (tmp_path / "model" / "sub").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    conf, cache = entry("huggingface", weights=str(tmp_path / "model")), tmp_path / "cache"
    one = content_of(conf, cache)
    (tmp_path / "model" / "sub" / "model.safetensors").write_text("tensors")
    assert content_of(conf, cache) != one


def test_the_place_of_the_files_does_not_count(tmp_path):
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "w.pt").write_text("tensors")
    here, there = (
        content_of(entry("python", weights=str(tmp_path / place / "w.pt")), tmp_path) for place in ("here", "there")
    )
    assert here == there


def test_an_entry_without_local_files_has_no_content(tmp_path):
    for weights in (None, "google/vit-base-patch16-224", "???", "IMAGENET1K_V2", ""):
        assert content_of(entry("huggingface", weights=weights), tmp_path) is None
