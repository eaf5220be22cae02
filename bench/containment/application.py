"""An application as its requests show it: client, models, prompts, conversations; and the releases that change it."""

import random
from typing import NamedTuple

from bench.containment import traces, world
from bench.containment.parameters import choose, parameters

_CLIENTS = {
    "service": ("{p}-python", "{p}-python", "{p}-python", "openai-js", "litellm", "langchain", "httpx", "go"),
    "batch": ("{p}-python", "{p}-python", "requests", "langchain"),
    "ci": ("{p}-python", "{p}-python", "requests", "curl", "openai-js"),
    "person": ("{p}-python", "requests", "litellm", "curl", "openai-js"),
    "agent": ("claude-code", "codex", "openai-js"),
}
_SIZES = {"service": ("chat", "code", "long"), "batch": ("long", "chat"), "ci": ("code",)}
_MOST_OPEN = 40
_TURN_TOKENS = 180
_AGENT_TURN_TOKENS = 900
_AGENT_COMPACTS_AT = 60_000


class Talk(NamedTuple):
    """A conversation so far."""

    name: str
    turns: int
    tokens: int
    system: str
    end_user: str


class Application:
    """Gives one `Made` after the other. `rng` is a `random.Random` of its own."""

    def __init__(self, name, kind, provider, rng):
        told = parameters()
        self.name, self.kind, self.provider = name, kind, provider
        self._rng = rng
        self._told, self._churn = told["benign"], told["churn"]
        self._made = 0
        self._version = rng.randrange(40)
        self._family = self._some_family()
        self.client = world.client(self._family, self._version)
        self.models = sorted({self._some_model() for _ in range(rng.randint(*self._told["models"]["models_per_key"]))})
        self._prompts = [self._fresh("s") for _ in range(rng.randint(*self._churn["prompt_templates"]))]
        self._tools = self._fresh("t") if kind == "agent" or rng.random() < 0.3 else ""
        self._tools_n = rng.randint(8, 20) if kind == "agent" else rng.randint(1, 6)
        self._cap = rng.choice([256, 512, 1024, 2048, 4096]) if rng.random() < 0.6 or provider == "anthropic" else None
        self._sizes = traces.sizes()[rng.choice(_SIZES.get(kind, ("chat", "code")))]
        self._chats = kind == "service" and rng.random() < self._churn["chat_app"]
        self._templated = kind == "service" and rng.random() < self._churn["templated_prompts"]
        self._streams = 0.95 if kind in {"agent", "person"} or self._chats else 0.1
        has_users = kind == "service" and rng.random() < self._churn["end_users"]["service"]
        self._users = rng.randint(*self._churn["end_users_n"]) if has_users else 0
        self._open = []

    def _fresh(self, letter):
        self._made += 1
        return f"{letter}{self.name}-{self._made}"

    def _some_family(self):
        sdk = "anthropic" if self.provider == "anthropic" else "openai"
        return self._rng.choice(_CLIENTS[self.kind]).format(p=sdk)

    def _some_model(self):
        weights = self._told["models"][self.provider]
        return self._rng.choices(list(weights), list(weights.values()))[0]

    def request(self):
        """The next request."""
        rng = self._rng
        if self.kind in {"agent", "person"} or self._chats:
            talk = self._turn()
        else:
            user = f"u{self.name}-{rng.randrange(self._users)}" if self._users else ""
            talk = Talk(self._fresh("c"), 0, 0, self._prompt(user), user)
        into, out = (int(count) for count in self._sizes[rng.randrange(len(self._sizes))])
        if talk.tokens:
            into = talk.tokens
        if self._cap is not None:
            out = min(out, self._cap)
        return world.Made(
            provider=self.provider,
            model=self.models[0] if len(self.models) == 1 or rng.random() < 0.7 else rng.choice(self.models),
            size=world.Size(max(into, 8), max(out, 1), self._cap),
            client=self.client,
            system=talk.system,
            tools=self._tools,
            conversation=talk.name,
            end_user=talk.end_user,
            messages=2 * talk.turns + 1 + bool(talk.system),
            tools_n=self._tools_n if self._tools else 0,
            stream=rng.random() < self._streams,
        )

    def _prompt(self, user):
        return f"{self._prompts[0]}-{user}" if self._templated else self._rng.choice(self._prompts)

    def _turn(self):
        """The next turn of one of the open conversations: a person has one at a time, a chat has many."""
        rng, many = self._rng, self._chats
        if self._open and rng.random() < (0.75 if many else 0.92):
            place = rng.randrange(len(self._open)) if many else 0
            talk = self._open.pop(place)
            more = _AGENT_TURN_TOKENS if self.kind == "agent" else _TURN_TOKENS
            tokens = talk.tokens + rng.randint(more // 3, 2 * more)
            if tokens > _AGENT_COMPACTS_AT:
                tokens = 12_000
            talk = talk._replace(turns=talk.turns + 1, tokens=tokens)
        else:
            user = f"u{self.name}-{rng.randrange(self._users)}" if self._users else ""
            first = 9_000 if self.kind == "agent" else 400
            talk = Talk(self._fresh("c"), 0, rng.randint(first // 2, 2 * first), self._prompt(user), user)
        self._open.insert(0, talk)
        del self._open[_MOST_OPEN if many else 1 :]
        return talk

    def trial(self):
        """A request that tries another model of the provider, and whether the provider has it."""
        made = self.request()
        return made._replace(model=self._rng.choice(world.MODELS[self.provider])), self._rng.random() > 0.2

    def health_check(self):
        """One token, to see that all is well."""
        size = world.Size(9, 1, 1)
        return world.Made(self.provider, self.models[0], size, self.client, conversation=f"h{self.name}")

    # -- a release ------------------------------------------------------------------------------------------------

    def deploy(self):
        """Change what a release changes; answers the factor by which it changes the volume."""
        rng, told = self._rng, self._churn
        whole = rng.random() < told["deploy_all"]
        if whole or rng.random() < told["deploy_client"]:
            self._version += rng.randint(1, 3)
            if whole and rng.random() < 0.5:
                self._family = self._some_family()
            self.client = world.client(self._family, self._version)
        if whole or rng.random() < told["deploy_model"]:
            self._change_model()
        if rng.random() < told["deploy_prompt"]:
            self._prompts[rng.randrange(len(self._prompts))] = self._fresh("s")
        if self._tools and rng.random() < told["deploy_tools"]:
            self._tools, self._tools_n = self._fresh("t"), max(1, self._tools_n + rng.randint(-1, 2))
        if whole:
            return rng.uniform(1.5, 5)
        if rng.random() < told["deploy_volume"]:
            low, high = told["volume_factor"]
            return low * (high / low) ** rng.random()
        return 1.0

    def _change_model(self):
        rng, told = self._rng, self._churn
        now = world.price_of(self.provider, self.models[0])
        others = [model for model in self._told["models"][self.provider] if model not in self.models]
        dearer = [model for model in others if world.price_of(self.provider, model) >= 3 * now]
        if dearer and rng.random() < told["deploy_dearer"]:
            self.models[0] = rng.choice(dearer)
        elif others:
            self.models[0] = rng.choice(others)


def some_application(name, rng):
    """An application of any kind, with a provider of its own."""
    told = parameters()["benign"]
    kind = choose(rng, told["kinds"])
    provider = choose(rng, told["models"]["providers"])
    return Application(name, kind, provider, random.Random(int(rng.integers(2**60))))
