"""Find the files that travel beside the code: generated CRDs and the templates of manifests.

A built wheel carries them inside the package; an editable install leaves them at the top of the checkout,
because hatch does not apply ``force-include`` there. So the package is looked at first, then the checkout.
"""

from pathlib import Path
from typing import Literal

from inferplan.domain.errors import DefectError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]


def asset_folder(name: Literal["crds", "templates"]) -> Path:
    """Return the folder of one kind of asset.

    Parameters
    ----------
    name
        Which folder, as it is called at the top of the checkout.

    Returns
    -------
    pathlib.Path
        An existing folder.

    Raises
    ------
    DefectError
        If the installation lacks it.

    Examples
    --------
    >>> asset_folder("crds").name
    'crds'
    """
    for root in (_PACKAGE, _CHECKOUT):
        folder = root / name
        if folder.is_dir():
            return folder
    message = f"this installation lacks its folder {name!r}; looked in {_PACKAGE} and {_CHECKOUT}"
    raise DefectError(message)
