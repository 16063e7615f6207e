"""The squared hinge loss of TorchLinearSVC, minimised by Newton's method.

``_minimize`` holds the method, ``_ridge`` what each of its steps solves, ``_rows`` the
products with X.
"""

from sklgan._newton._minimize import minimize_squared_hinge
from sklgan._newton._rows import Rows

__all__ = ["Rows", "minimize_squared_hinge"]
