"""Source of the script by which an MLflow server loads a published model.

It extends MLflow's conversion of a JSON request by input name to the signature's tensors, which has no form for an encoded
picture: a base64 string in the place of an image (in ``inputs`` and ``instances``) is decoded by the code that is shipped
with the model.
"""

ENTRY = '''"""Serve the export beside this file; written at publication. Needs only MLflow and what served.py imports."""

import base64
import binascii
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Exported(PythonModel):
    def load_context(self, context):
        folder = Path(context.artifacts["export"])
        name = f"served_{abs(hash(str(folder.resolve())))}"  # one process may load two versions
        code = [str(folder / "code")]  # modules shipped with it
        spec = importlib.util.spec_from_file_location(name, folder / "served.py", submodule_search_locations=code)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.served = module.Served(folder)
        decoders = refuse_lossy_casts()
        facts, signature = (json.loads((folder / f"{part}.json").read_text()) for part in ("facts", "signature"))
        preparation = facts.get("preparation")
        if preparation and hasattr(self.served, "decode"):
            shapes = {tuple(entry["shape"]) for entry in signature["inputs"] if entry["name"] in ("image", "reference")}
            for shape in shapes:
                decoders.setdefault(shape, {})[json.dumps(preparation, sort_keys=True)] = self.served.decode

    # Arrays by input name. MLflow neither checks nor warns about this type hint.
    def predict(self, context, model_input: np.ndarray, params=None):
        try:
            return self.served.predict(model_input, params)
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


def refuse_lossy_casts():
    """MLflow casts a request to the signature's dtype before it can be checked: 0.5 becomes 0, 300 may become 44.

    Returns shape -> preparation -> decoder of pictures, of all models that this process has loaded.
    """
    from mlflow.models import utils
    from mlflow.utils import proto_json_utils

    convert, reshape = proto_json_utils.convert_data_type, utils._reshape_and_cast_pandas_column_values
    if hasattr(convert, "decoders"):
        return convert.decoders
    decoders = {}

    def exact_convert(data, spec):
        if is_encoded(data, spec):
            decode = decoder_of(decoders, spec)
            return decode(data, "") if isinstance(data, str) else np.stack([decode(one, f" {i}") for i, one in enumerate(data)])
        check(data, spec)
        return convert(data, spec)

    def exact_reshape(name, column, spec):
        for row in column:
            check(row, spec)
        return reshape(name, column, spec)

    exact_convert.exact = True
    exact_convert.decoders = decoders
    proto_json_utils.convert_data_type = exact_convert
    utils._reshape_and_cast_pandas_column_values = exact_reshape
    return decoders


def is_encoded(data, spec):
    """Whether the data are base64 strings where the signature has images uint8 [N, H, W, C]."""
    images = getattr(spec, "type", None) == np.uint8 and len(getattr(spec, "shape", ())) == 4
    texts = data if isinstance(data, list) else [data]
    return images and bool(texts) and all(isinstance(text, str) for text in texts)


def decoder_of(decoders, spec):
    """Return the decoder of (base64 text, number of the picture) to pixels, of the only loaded model with this input."""
    known = decoders.get(tuple(spec.shape), {})
    if len(known) != 1:
        fault = "this model takes no encoded pictures" if not known else "loaded models prepare pictures in different ways"
        raise MlflowException.invalid_parameter_value(f"input {spec.name!r}: {fault}: send numbers (uint8)")
    (decode,) = known.values()

    def decode_text(text, number):
        data = text.partition(",")[2] if text.startswith("data:") else text
        try:
            return decode(base64.b64decode(data, validate=True))
        except (binascii.Error, ValueError) as error:
            raise MlflowException.invalid_parameter_value(f"input {spec.name!r}, picture{number}: {error}") from None

    return decode_text


def check(data, spec):
    dtype = getattr(spec, "type", None)
    if not isinstance(dtype, np.dtype) or dtype.kind not in "iu":
        return
    try:
        array = np.asarray(data)
    except ValueError:
        raise MlflowException.invalid_parameter_value(f"input {spec.name!r}: the rows differ in length") from None
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if array.dtype.kind not in "iuf":
        actual = f"found {array.dtype}"
        raise MlflowException.invalid_parameter_value(f"input {spec.name!r}: numbers ({dtype}) are expected, {actual}")
    if not np.all((array >= low) & (array <= high) & (array == np.floor(array))):
        actual = f"found {array.min()} to {array.max()}" + ("" if array.dtype.kind in "iu" else ", with fractions or as floats")
        raise MlflowException.invalid_parameter_value(
            f"input {spec.name!r}: whole numbers from {low} to {high} ({dtype}) are expected, {actual}"
        )


set_model(Exported())
'''
