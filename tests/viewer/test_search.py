from viewer.results.lineage import Forest, Node
from viewer.results.search import search_models

FOREST = Forest(
    [
        Node("k1", None, "base", op="train", kind="base", params={"epochs": 2}, order=0),
        Node("k2", "k1", "base/pruned", op="magnitude_prune", kind="prune", params={"sparsity": 0.5}, order=1),
        Node("k3", "k2", "base/pruned/int8", op="quantize", kind="quantize", params={"method": "static"}, order=2),
    ]
)


def test_words_match_name_operation_parameters_and_key():
    assert search_models(FOREST, "int8") == ["k3"]
    assert search_models(FOREST, "PRUNED") == ["k2", "k3"]
    assert search_models(FOREST, "sparsity=0.5") == ["k2"]
    assert search_models(FOREST, "static pruned") == ["k3"]
    assert search_models(FOREST, "k1") == ["k1"]
    assert search_models(FOREST, "1") == [], "keys are random digits: a number would be in nearly all of them"


def test_a_name_that_begins_so_comes_first():
    assert search_models(FOREST, "base/pruned/int8")[0] == "k3"
    assert search_models(FOREST, "base")[0] == "k1"


def test_nothing_is_found_for_nothing():
    assert search_models(FOREST, "  ") == []
    assert search_models(FOREST, "<script>") == []
