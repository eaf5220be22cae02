"""The money side at full size: limits never passed, the ledger against the bill, refusals that were not due."""

from tests.acceptance import money_agents, money_disconnects, money_schedules


def _schedules(folder, seed):
    return money_schedules.run(folder, money_schedules.FULL, seed).rows


def _agents(folder, seed):
    rows, _ = money_agents.run(folder / "plain", money_agents.FULL, seed, clamp=False)
    clamped, _ = money_agents.run(folder / "clamp", money_agents.FULL_CLAMPED, seed, clamp=True)
    return rows + clamped


def _disconnects(folder, seed):
    return money_disconnects.run(folder, money_disconnects.FULL, seed)


SECTIONS = {
    "schedules": (
        "random concurrent schedules over three levels of limits, and refusals that were not due",
        _schedules,
    ),
    "agents": ("agents with large prompts and caps on small budgets", _agents),
    "disconnects": ("streams whose client leaves at a random byte", _disconnects),
}
