"""What a stage ran with is what dvc.lock says, or the stage is not recorded.

DVC hashes parameters and data when a command has ended: an edit during a training would be recorded as its input. So a stage
takes the hashes of its declared inputs when it starts (``recording``), reads params.yaml from the text that was hashed
(``settings.held_params``), compares again as its last act, and only then writes these hashes as one more out of its own,
``outputs/inputs/<stage>/<block>.json`` (``record``). An entry of dvc.lock therefore proves itself: the hash of that out must be
the hash of what its ``deps`` and ``params`` say. An entry that contradicts its record is wrong, in any clone, and this is seen
without any data at hand: it counts as stale (flows/dvc/changes.py), DVC as run by the flow refuses to write it
(flows/dvc/inputs.py), the next stage of its chain removes it (``lock``), and so does ``python -m flows doctor --fix``.
Code needs no second look: the stage imports it as it was when its digest was compared (``code``).

Read first: ``recording``. No result depends on this room: it is in no digest of code. DVC itself is asked only if a dvc.yaml or
.dvcignore is of an unusual form.
"""
