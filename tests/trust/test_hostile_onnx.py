"""ONNX files of somebody else's: nothing is started, nothing outside of the folder is opened, one line each."""

import os

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.trust.watching import observe

IMPORTS = """
import onnx, onnxruntime
from pipeline.models.build import build
from pipeline.models.class_names import class_names
from pipeline.models.identity import content_of
from tests.pipeline.models.conftest import PICTURES
"""
ACT = """
    conf = {"name": "theirs", "builder": "onnx", "path": str(path)}
    names = class_names(conf, path.parent.parent / "cache")
    content = content_of(conf, path.parent.parent / "cache")
    return build(conf, PICTURES).path, names, content
"""
WEIGHT = np.random.default_rng(0).normal(size=(192, 3)).astype(np.float32)
FLATTEN = helper.make_node("Flatten", ["pixel_values"], ["flat"])
PRODUCT = helper.make_node("MatMul", ["flat", "weight"], ["logits"])
DAMAGED, REFUSED, OUTSIDE = "damaged or no ONNX model (", "ONNX Runtime refuses", "outside of the model's folder"


def model(*nodes, weights=None, domains=(), functions=()):
    """Flatten and multiply, or what the nodes say."""
    graph = helper.make_graph(
        list(nodes or (FLATTEN, PRODUCT)), "g",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(WEIGHT, "weight")] if weights is None else weights,
    )  # fmt: skip
    sets = [helper.make_opsetid("", 18), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(graph, opset_imports=sets, ir_version=10, functions=list(functions))


def apart(location, *, offset=0, length=WEIGHT.nbytes):
    """Weights that lie in a file beside the model."""
    tensor = TensorProto(
        name="weight", data_type=TensorProto.FLOAT, dims=WEIGHT.shape, data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return model(weights=[tensor])


def sized(*dims, data=b"1234"):
    return model(weights=[TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=dims, raw_data=data)])


def filled(*dims):
    """A tensor of ones that is made while the model runs."""
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    return model(
        helper.make_node("ConstantOfShape", ["shape"], ["large"], value=one),
        helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=0),
        FLATTEN,
        helper.make_node("MatMul", ["flat", "weight"], ["product"]),
        helper.make_node("Add", ["product", "sum"], ["logits"]),
        weights=[numpy_helper.from_array(WEIGHT, "weight"), numpy_helper.from_array(np.array(dims), "shape")],
    )


def named(name):
    result = model()
    result.graph.node[1].name = name
    return result


def labelled(text):
    result = model()
    result.metadata_props.add(key="names", value=text)
    return result


def foreign(domain, **attributes):
    return model(
        FLATTEN, helper.make_node("Run", ["flat", "weight"], ["logits"], domain=domain, **attributes), domains=[domain]
    )


def calling(**calls):
    """Functions of the model's own, of which each calls another."""
    functions = [
        helper.make_function(
            "own", name, ["x"], ["y"], [helper.make_node(called, ["x"], ["y"], domain="own")], [helper.make_opsetid("own", 1)]
        )
        for name, called in calls.items()
    ]  # fmt: skip
    first = helper.make_node(next(iter(calls)), ["pixel_values"], ["called"], domain="own")
    return model(
        first, helper.make_node("Flatten", ["called"], ["flat"]), PRODUCT, domains=["own"], functions=functions
    )


def content(proto):
    return lambda file, secret: file.write_bytes(proto.SerializeToString())


def linked(target, location, *, link):
    """Weights behind a link, to the secret file or to a folder that leads there."""

    def write(file, secret):
        (file.parent / link).symlink_to(target)
        file.write_bytes(apart(location).SerializeToString())

    return write


def cut(start, stop):
    return lambda file, secret: file.write_bytes(model().SerializeToString()[start:stop])


def piped(file, secret):
    os.mkfifo(file.parent / "pipe")
    file.write_bytes(apart("pipe").SerializeToString())


def unlike_text(file, secret):
    file.write_bytes(named("name-of-it").SerializeToString().replace(b"name-of-it", b"name\xff\xfe\xab-it"))


CASES = {
    "parent": (content(apart("../secret")), OUTSIDE),
    "grandparents": (content(apart("../../../../../../../../etc/passwd")), OUTSIDE),
    "absolute": (lambda file, secret: file.write_bytes(apart(str(secret)).SerializeToString()), OUTSIDE),
    "passwords": (content(apart("/etc/passwd")), OUTSIDE),
    "up-and-down": (content(apart("sub/../../secret")), OUTSIDE),
    "another-system": (content(apart("..\\secret")), OUTSIDE),
    "link": (linked("../secret", "data", link="data"), OUTSIDE),
    "link-of-a-folder": (linked("..", "up/secret", link="up"), OUTSIDE),
    "link-to-itself": (linked("data", "data", link="data"), "there is no 'data' beside the model"),
    "pipe": (piped, "there is no 'pipe' beside the model"),
    "device": (linked("/dev/zero", "data", link="data"), "there is no 'data' beside the model"),
    "no-name": (content(apart("")), OUTSIDE),
    "offset-overflow": (content(apart("net.onnx", offset=2**64 - 1)), "it is damaged, or belongs to another model"),
    "length-overflow": (content(apart("net.onnx", length=2**64)), "it is damaged, or belongs to another model"),
    "negative-offset": (content(apart("net.onnx", offset=-4, length=4)), "it is damaged, or belongs to another model"),
    "endless-number": (content(apart("net.onnx", offset="9" * 10_000)), "damaged: the place of 'weight' in 'net.onnx'"),
    "foreign-operator": (content(foreign("com.example")), "com.example:Run(-1) is not a registered function/op"),
    "python-operator": (content(foreign("com.microsoft", module="os", func_name="system")), REFUSED),
    "function-of-itself": (content(calling(f="f")), DAMAGED),
    "functions-in-a-circle": (content(calling(f="g", g="f")), DAMAGED),
    "product-overflow": (content(sized(2**40, 2**40)), DAMAGED),
    "size-overflow": (content(sized(2**62, 4)), DAMAGED),
    "negative-size": (content(sized(-192, -3, data=WEIGHT.tobytes())), DAMAGED),
    "no-values": (content(sized(192, 3)), "ONNX"),
    "memory-overflow": (content(filled(2**40, 2**20)), REFUSED),
    "nested-name": (content(named("a." * 10**6)), "has 1000001 levels, and the most is 100; rename it"),
    "nested-path": (content(named("/a" * 10**6)), "has 1000001 levels, and the most is 100; rename it"),
    "not-utf-8": (unlike_text, "'name' holds a text that is not UTF-8"),
    "circle": (
        content(model(FLATTEN, helper.make_node("Add", ["flat", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"]))),
        DAMAGED,
    ),
    "cut-off": (cut(0, 1000), DAMAGED),
    "cut-in-the-middle": (cut(40, None), "ONNX"),
    "empty": (cut(0, 0), "ONNX"),
    "text": (lambda file, secret: file.write_text("This is no model.\n"), DAMAGED),
    "random": (lambda file, secret: file.write_bytes(np.random.default_rng(0).bytes(5000)), DAMAGED),
    "pickle": (lambda file, secret: file.write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR."), DAMAGED),
    "folder": (lambda file, secret: file.mkdir(), "there is no such file"),
    "named-pipe": (lambda file, secret: os.mkfifo(file), "there is no such file"),
}  # fmt: skip
ACCEPTED = {
    "nested-labels": content(labelled("[" * 10**6)),
    "nested-signs": content(labelled("-" * 10**6 + "1")),
    "calling-labels": content(labelled("__import__('os').system('true')")),
}
"""Metadata that says nothing of use: the model itself is sound."""


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """Each case in a folder of its own; all looked at in one process."""
    place = tmp_path_factory.mktemp("onnx")
    secret = place / "secret"
    secret.write_bytes(WEIGHT.tobytes())
    files = {name: place / name / "net.onnx" for name in (*CASES, *ACCEPTED)}
    for name, file in files.items():
        file.parent.mkdir()
        (CASES[name][0] if name in CASES else ACCEPTED[name])(file, secret)
    observations = observe(IMPORTS, ACT, list(files.values()), place)
    return secret, {name: observations[file] for name, file in files.items()}


@pytest.mark.parametrize("name", [*CASES, *ACCEPTED])
def test_nothing_is_started_and_nothing_else_is_opened(observed, name):
    secret, observations = observed
    seen = observations[name]
    assert seen.started == ()
    resolved = {os.path.realpath(one) for one in seen.opened}
    assert not resolved & {str(secret.resolve()), "/etc/passwd", "/dev/zero"}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_one_line_that_names_the_file(observed, name):
    seen = observed[1][name]
    assert seen.kind == "ModelError", seen
    assert f"{name}/net.onnx: " in seen.message
    assert CASES[name][1] in seen.message
    assert "\n" not in seen.message
    assert len(seen.message) < 700


@pytest.mark.parametrize("name", ACCEPTED)
def test_metadata_that_are_no_names_are_passed_over(observed, name):
    seen = observed[1][name]
    assert seen.kind is None, seen
    assert ", None, " in seen.result
