"""Post-hoc out-of-distribution scores. ``DETECTORS`` lists them: a detector ``x`` is in ``components/detectors/x.py``.

The interface of a detector is defined in ``shared/protocol.py``. Its settings are the keyword-only parameters of its
constructor, each with a default.
"""

DETECTORS: dict[str, str] = {
    "msp": "components.detectors.msp:MSP",
    "max_logit": "components.detectors.max_logit:MaxLogit",
    "energy": "components.detectors.energy:Energy",
    "odin": "components.detectors.odin:ODIN",
    "kl_matching": "components.detectors.kl_matching:KLMatching",
    "react": "components.detectors.react:ReAct",
    "mahalanobis": "components.detectors.mahalanobis:Mahalanobis",
    "residual": "components.detectors.residual:Residual",
    "nusa": "components.detectors.nusa:NuSA",
    "vim": "components.detectors.vim:ViM",
    "gradnorm": "components.detectors.gradnorm:GradNorm",
    "knn": "components.detectors.knn:KNN",
    "relative_mahalanobis": "components.detectors.relative_mahalanobis:RelativeMahalanobis",
    "mcm": "components.detectors.mcm:MCM",  # for models that know their classes by name
}
