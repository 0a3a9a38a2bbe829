"""Input records: verify that dvc.lock names the inputs with which a stage actually ran.

DVC hashes parameters and data after a command has ended, so it would record an edit during a training as its input. A stage
therefore hashes its declared inputs at its start (``recording``), reads params.yaml from the hashed text
(``settings.held_params``), compares again at its end, and only then writes these hashes as an additional out,
``outputs/inputs/<stage>/<block>.json`` (``record``). An entry of dvc.lock is consistent if the hash of that out equals the hash
of its ``deps`` and ``params``. An inconsistent entry is wrong in any clone, which can be detected without data: it counts as
stale (flows/dvc/changes.py), DVC as run by the flow refuses to write it (flows/dvc/inputs.py), and the next stage of its chain
or ``python -m flows doctor --fix`` removes it (``lock``). Code is not compared again: the stage imports it as it was when its
digest was compared (``code``).

Read first: ``recording``. No result depends on this package: it is in no digest of code. DVC itself is loaded only if a
dvc.yaml or .dvcignore has an unusual form.
"""
