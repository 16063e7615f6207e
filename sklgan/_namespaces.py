"""Arrays of other namespaces than NumPy, under scikit-learn's array API dispatch.

They come in as torch tensors that stay on their device, and results go out as arrays of
the namespace and the device of X. Without dispatch all is NumPy.
"""

import numpy as np
import torch
from sklearn import get_config


def is_dispatched(X):
    """Tell whether dispatch is on, and X an array of another namespace than NumPy."""
    if not get_config()["array_api_dispatch"] or isinstance(X, np.ndarray):
        return False
    return torch.is_tensor(X) or hasattr(X, "__array_namespace__")


def to_tensor(X):
    """Return an array of any namespace as a tensor on its device, without gradients."""
    return (X if torch.is_tensor(X) else torch.from_dlpack(X)).detach()


def to_host(y):
    """Return y as an array of NumPy, if dispatch is on and it is one of another."""
    return to_tensor(y).cpu().numpy() if is_dispatched(y) else y


def without_namespace(value):
    """Return an array of any namespace as one of NumPy, all else as it is."""
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__"):
        return value
    return to_tensor(value).cpu().numpy()


def like(result, X):
    """Return a tensor as an array of the namespace and on the device of X.

    Parameters
    ----------
    result : Tensor
        On any device.
    X : object
        What the user passed.

    Returns
    -------
    array
        Of NumPy, without a copy from the CPU, unless X is dispatched.
    """
    if not is_dispatched(X):
        return result.cpu().numpy()
    result = result.to(to_tensor(X).device)
    if torch.is_tensor(X):
        return result
    # What is a device of its own elsewhere may be the CPU to torch.
    return X.__array_namespace__().from_dlpack(result).to_device(X.device)


def take(values, chosen, X):
    """Return ``values[chosen]``, as :func:`like` does unless values are no numbers.

    Parameters
    ----------
    values : ndarray of shape (k,)
        Such as classes; strings have no namespace but NumPy.
    chosen : Tensor of shape (n,)
        Positions.
    X : object
        What the user passed.
    """
    if is_dispatched(X) and values.dtype.kind in "biuf":
        return like(torch.from_numpy(values).to(chosen.device)[chosen], X)
    return values[chosen.cpu().numpy()]


def numpy_dtype(array):
    """Return the NumPy dtype of an array or tensor, float32 where there is none."""
    name = str(array.dtype).removeprefix("torch.")
    return np.dtype(np.float32 if name == "bfloat16" else name)


def empty_beside(rows, *shape):
    """Return an uninitialised float32 tensor on the device of rows."""
    if torch.is_tensor(rows):
        return torch.empty(shape, device=rows.device)
    return torch.from_numpy(np.empty(shape, dtype=np.float32))


def moments(rows, batch_size=4096):
    """Return mean and standard deviation of a tensor's columns, 1 where constant.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        Numbers, on any device; of which so many at a time become float64.
    batch_size : int, default=4096
        So many.

    Returns
    -------
    mean, scale : ndarray of shape (d,), float64
        As those of :class:`sklearn.preprocessing.StandardScaler`.
    """
    n = len(rows)
    mean = sum(part.double().sum(0) for part in rows.split(batch_size)) / n
    deviations = (part.double() - mean for part in rows.split(batch_size))
    variance = sum(part.square().sum(0) for part in deviations) / n
    mean, variance = mean.cpu().numpy(), variance.cpu().numpy()
    # What rounding alone may leave of a constant column, as in scikit-learn.
    eps = np.finfo(np.float64).eps
    constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    return mean, np.where(constant, 1.0, np.sqrt(variance))
