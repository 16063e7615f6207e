"""The squared hinge loss of TorchLinearSVC, minimised.

``_few_columns`` holds Newton's method for narrow X, ``_interior`` the interior-point
method for wide X, ``_systems`` what its steps solve, ``_rows`` the products with X.
"""

from sklgan._newton._minimize import minimize_squared_hinge
from sklgan._newton._rows import Rows

__all__ = ["Rows", "minimize_squared_hinge"]
