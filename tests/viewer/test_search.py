from viewer.results.lineage import Forest, Node
from viewer.results.search import find

FOREST = Forest(
    [
        Node("k1", None, "base", op="train", kind="base", params={"epochs": 2}, order=0),
        Node("k2", "k1", "base/pruned", op="magnitude_prune", kind="prune", params={"sparsity": 0.5}, order=1),
        Node("k3", "k2", "base/pruned/int8", op="quantize", kind="quantize", params={"method": "static"}, order=2),
    ]
)


def test_words_match_name_operation_parameters_and_key():
    assert find(FOREST, "int8") == ["k3"]
    assert find(FOREST, "PRUNED") == ["k2", "k3"]
    assert find(FOREST, "sparsity=0.5") == ["k2"]
    assert find(FOREST, "static pruned") == ["k3"]
    assert find(FOREST, "k1") == ["k1"]


def test_a_name_that_begins_so_comes_first():
    assert find(FOREST, "base/pruned/int8")[0] == "k3"
    assert find(FOREST, "base")[0] == "k1"


def test_nothing_is_found_for_nothing():
    assert find(FOREST, "  ") == []
    assert find(FOREST, "<script>") == []
