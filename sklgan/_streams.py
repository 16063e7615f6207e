"""What an estimator remembers of a stream: its seed, classes and labelled rows."""

import numpy as np
import torch
from sklearn.utils import check_random_state

from sklgan._labels import UNLABELED, find_labels, warn_of_one_class
from sklgan._placement import read_rows
from sklgan._training import of_rank_0

# Few labels are kept all; of many, an equal share for each class, as the batches hold
# as many rows of each.
MOST_ROWS = 10_000


def draw_seed(gan, random_state, streamed):
    """Return the seed of a training; that of a stream is drawn once, and kept.

    Parameters
    ----------
    gan : BaseGAN
        Of which ``random_state`` is taken, if that is None here.
    random_state : RandomState instance or None
        For methods that train more than once.
    streamed : bool
        Whether it is for a stream.
    """
    if streamed and hasattr(gan, "_stream_seed"):
        return gan._stream_seed
    rng = check_random_state(random_state or gan.random_state)
    seed = int(rng.randint(np.iinfo(np.int32).max))
    if streamed:
        # What is remembered has to be the same in all processes of a training.
        seed = gan._stream_seed = of_rank_0(seed)
    return seed


def choose_classes(classifier, classes):
    """Return the classes of a stream, sorted, without -1.

    Parameters
    ----------
    classifier : estimator instance
        Fitted or not; after the first call its ``classes_`` are the classes.
    classes : array-like of shape (n_classes,) or None
        The parameter of ``partial_fit``.

    Raises
    ------
    ValueError
        If they are missing at the first call, or others later.
    """
    known = getattr(classifier, "classes_", None)
    if classes is None:
        if known is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return known
    values, labeled = find_labels(
        classes,
        "classes of partial_fit",
        allow_strings=True,
        remedy="Name at least one class.",
    )
    found = np.unique(values[labeled])
    warn_of_one_class("classes", found, len(values) - len(labeled))
    if known is not None and not np.array_equal(found, known):
        raise ValueError(
            f"`classes={classes!r}` is not the same as on last call to partial_fit, "
            f"was: {known!r}"
        )
    return found


def encode_chunk(y, classes, caller):
    """Return each row's class as its position in ``classes``, -1 for none; int64.

    Raises
    ------
    ValueError
        If y holds another class, or something that is none.
    """
    y, rows = find_labels(y, caller, required=False)
    found, inverse = np.unique(y[rows], return_inverse=True)
    positions = {value: k for k, value in enumerate(classes.tolist())}
    unknown = [value for value in found.tolist() if value not in positions]
    if unknown:
        raise ValueError(
            f"The target label(s) {unknown} in y do not exist in the initial classes "
            f"{classes.tolist()}."
        )
    codes = np.full(len(y), UNLABELED, dtype=np.int64)
    places = [positions[value] for value in found.tolist()]
    codes[rows] = np.array(places, dtype=np.int64)[inverse]
    return codes


def with_remembered(memory, rows, codes):
    """Return rows and codes of a chunk with the remembered ones after them.

    Parameters
    ----------
    memory : dict or None
        What :func:`remember` returned last.
    rows : ndarray or Tensor of shape (n_samples, n_features)
        The chunk.
    codes : ndarray of shape (n_samples,)
        Their classes, -1 for none.
    """
    if memory is None or len(memory["codes"]) == 0:
        return rows, codes
    codes = np.concatenate([codes, memory["codes"]])
    rows = read_rows(rows, slice(None))
    if torch.is_tensor(rows):
        remembered = torch.from_numpy(memory["rows"]).to(rows.device)
        return torch.cat([rows, remembered]), codes
    return np.concatenate([rows, memory["rows"]]), codes


def remember_chunk(classifier, rows, codes):
    """Return a classifier's memory with the labelled rows of its last chunk added.

    Parameters
    ----------
    classifier : SemiSupervisedGANClassifier
        Trained on the chunk.
    rows, codes
        As for :func:`with_remembered`.
    """
    seed = draw_seed(classifier, None, streamed=True), classifier.n_iter_
    n_classes = len(classifier.classes_)
    return remember(classifier._memory, rows, codes, n_classes, seed)


def remember(memory, rows, codes, n_classes, seed):
    """Return the memory with the labelled rows of a chunk added.

    Each labelled row of the stream draws a number when it comes; of each class those
    with the smallest stay, so that what stays is drawn evenly from all that came.

    Parameters
    ----------
    memory : dict or None
        What this function returned last: ``rows``, ``codes`` and the numbers ``keys``.
        It is left as it is.
    rows, codes
        As for :func:`with_remembered`.
    n_classes : int
        Of which each may have as many rows.
    seed : sequence of int
        Decides the numbers; another one for each chunk.

    Returns
    -------
    dict of ndarray
        The new memory.
    """
    labeled = np.flatnonzero(codes >= 0)
    keys = np.random.default_rng(seed).random(len(labeled))
    codes, n_before = codes[labeled], 0
    if memory is not None:
        n_before = len(memory["codes"])
        codes = np.concatenate([memory["codes"], codes])
        keys = np.concatenate([memory["keys"], keys])
    share = max(1, MOST_ROWS // n_classes)
    order = np.lexsort([keys, codes])
    starts = np.searchsorted(codes[order], codes[order])
    stay = np.sort(order[np.arange(len(order)) - starts < share])
    # Only what stays is read.
    new = read_rows(rows, labeled[stay[stay >= n_before] - n_before])
    new = new.cpu().numpy() if torch.is_tensor(new) else new
    if n_before:
        new = np.concatenate([memory["rows"][stay[stay < n_before]], new])
    return {"rows": new, "codes": codes[stay], "keys": keys[stay]}
