"""Source of the script by which an MLflow server loads a published model."""

ENTRY = '''"""Serve the export beside this file; written at publication. Needs only MLflow and what served.py imports."""

import importlib.util
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
        refuse_lossy_casts()

    # Arrays by input name. MLflow neither checks nor warns about this type hint.
    def predict(self, context, model_input: np.ndarray, params=None):
        try:
            return self.served.predict(model_input, params)
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


def refuse_lossy_casts():
    """MLflow casts a request to the signature's dtype before it can be checked: 0.5 becomes 0, 300 may become 44."""
    from mlflow.models import utils
    from mlflow.utils import proto_json_utils

    convert, reshape = proto_json_utils.convert_data_type, utils._reshape_and_cast_pandas_column_values
    if getattr(convert, "exact", False):
        return

    def exact_convert(data, spec):
        check(data, spec)
        return convert(data, spec)

    def exact_reshape(name, column, spec):
        for row in column:
            check(row, spec)
        return reshape(name, column, spec)

    exact_convert.exact = True
    proto_json_utils.convert_data_type = exact_convert
    utils._reshape_and_cast_pandas_column_values = exact_reshape


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
