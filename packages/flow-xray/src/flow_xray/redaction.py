"""Mask secrets in texts and JSON, as the recorder does: for programs that store or show values.

from flow_xray.redaction import MASK, Redactor

redactor = Redactor(secrets=[os.environ["API_KEY"]], remembers=False)
redactor.text("password=...")
redactor.value({"headers": {"authorization": "..."}})
"""

from flow_xray._redaction.redactor import MASK, Redactor, Rule, Rules

__all__ = ["MASK", "Redactor", "Rule", "Rules"]
