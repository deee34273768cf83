"""The policy that is bound to an approval request when it is created.

Nothing of it is read again when people decide: members, count and ttl, the requester, the
identities of people, the allow rule and the environment are those of this time. The hash that each
decision names covers all of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from loom_ops._approvals.people import People, group_members

if TYPE_CHECKING:
    from pathlib import Path

    from loom_ops._commands.allow_rules import Rules
    from loom_ops._runbook.model import ApprovalPolicy
    from loom_ops._site import Site

__all__ = ["PRODUCT", "PolicyBinding", "hash_of", "rule_hash"]

PRODUCT: Final = "loom-ops"


@dataclass(frozen=True, slots=True)
class PolicyBinding:
    """What is bound to the requests of one run.

    Args:
        database: Its owner is the group `operators` when the settings do not set that group.
        requester: The identity that requested the run, or a name in runs of earlier versions.
    """

    site: Site
    database: Path
    requester: str

    def policy(self, policy: ApprovalPolicy) -> dict[str, Any]:
        """Return the members that every request has."""
        people = People.of(self.site)
        identity = self.requester if ":" in self.requester else f"name:{self.requester}"
        return {
            "product": PRODUCT,
            "group": policy.group,
            "members": group_members(policy.group, self.site.groups, people, self.database),
            "count": policy.count,
            "not_requester": policy.not_requester,
            "on_timeout": policy.on_timeout,
            "ttl_s": policy.ttl_s,
            "edits": policy.edits,
            "sign": self.site.sign,
            "requester": people.person(identity, "").name,
            "requester_identity": identity,
            "people": people.as_json(),
        }


def hash_of(value: Any) -> str:
    """Return the hash of plain JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return sha256(text.encode()).hexdigest()


def rule_hash(rules: Rules | None, argv: Any) -> str | None:
    """Return the hash of the allow rule for a command and of where programs are looked up; None
    when no rule allows it.
    """
    rule = None if rules is None else rules.rule_for(argv)
    if rule is None or rules is None:
        return None
    params = {name: (param.pattern.pattern, sorted(param.may)) for name, param in rule.params.items()}
    environment = (rule.environment, dict(rule.fixed_environment))
    bound = [rule.argv, params, rule.effect, rule.timeout_s, environment, rule.folder, rule.unsafe, rules.path]
    if not rule.network:
        bound.append("no network")  # a rule without this word has the hash that it always had
    return hash_of(bound)
