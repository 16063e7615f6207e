"""Few labelled digits: scikit-learn's classifiers, and the GAN with its ablations."""

import warnings
from math import ceil

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from sklgan import SemiSupervisedGANClassifier
from sklgan.model_selection import SemiSupervisedKFold

BATCH = 64


def rival_accuracies(X_train, masked, X_test, y_test):
    """Return {name: test accuracy} of scikit-learn's estimators.

    What they are given to choose from is chosen by cross-validation on the labelled
    rows: C and gamma of the SVC, the number of neighbours of LabelSpreading. With 2
    labels a class that cannot be done for SelfTrainingClassifier, whose probabilities
    need a cross-validation of their own; they are then no guide to which rows are sure,
    and it falls behind its SVC. A choice by so few rows can be worse than none, so
    that a common one stands beside it.
    """
    train, test = X_train.reshape(len(X_train), -1), X_test.reshape(len(X_test), -1)
    train, test = train / 16, test / 16
    labeled = masked >= 0
    n_folds = min(3, np.bincount(masked[labeled]).min())
    svc = GridSearchCV(
        SVC(), {"C": [1, 10, 100], "gamma": ["scale", 0.03, 0.1]}, cv=n_folds
    ).fit(train[labeled], masked[labeled])
    calibrated = CalibratedClassifierCV(
        SVC(**svc.best_params_), cv=n_folds, ensemble=False
    )
    with warnings.catch_warnings():
        # Of LabelSpreading: it stops after max_iter, and some rows have no neighbour
        # with a label in reach.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "invalid value", RuntimeWarning)
        spreading = GridSearchCV(
            LabelSpreading(kernel="knn", max_iter=200),
            {"n_neighbors": [5, 7, 10, 15]},
            cv=SemiSupervisedKFold(n_folds),
        ).fit(train, masked)
        usual = LabelSpreading(kernel="knn", n_neighbors=7, max_iter=200)
        usual.fit(train, masked)
        training = SelfTrainingClassifier(calibrated).fit(train, masked)
        usual_svc = SVC(C=10).fit(train[labeled], masked[labeled])
        rivals = {
            "SVC, labels only": svc,
            "SVC(C=10), labels only": usual_svc,
            "SelfTrainingClassifier(SVC)": training,
            "LabelSpreading": spreading,
            "LabelSpreading, 7 neighbors": usual,
        }
        return {name: rival.score(test, y_test) for name, rival in rivals.items()}


def network_accuracies(X_train, masked, X_test, y_test, settings):
    """Return {name: test accuracy} of the GAN, without generator, and on labels alone.

    All three have the same network, augmentations, averages and number of steps.
    """
    full = SemiSupervisedGANClassifier(batch_size=BATCH, **settings)
    alone = SemiSupervisedGANClassifier(
        batch_size=BATCH, adversarial_weight=0.0, **settings
    )
    steps = full.max_epochs * ceil(len(X_train) / BATCH)
    labeled = np.flatnonzero(masked >= 0)
    steps_an_epoch = ceil(len(labeled) / BATCH)
    labels_only = SemiSupervisedGANClassifier(**alone.get_params()).set_params(
        max_epochs=ceil(steps / steps_an_epoch)
    )
    return {
        "the network, labels only": labels_only.fit(
            X_train[labeled], masked[labeled]
        ).score(X_test, y_test),
        "the network, no generator": alone.fit(X_train, masked).score(X_test, y_test),
        "SemiSupervisedGANClassifier": full.fit(X_train, masked).score(X_test, y_test),
    }
