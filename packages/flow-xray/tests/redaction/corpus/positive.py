"""Texts that hold a secret, by kind. Every secret is built here, so no file contains one."""

import base64
import json
import random
import string

__all__ = ["positive"]

_LETTERS = string.ascii_letters
_WORD = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"
_UPPER = string.ascii_uppercase + string.digits


def positive(seed: int = 7) -> list[tuple[str, str, str]]:
    """Return (kind, text, the part of the text that must not remain) for every kind."""
    rng = random.Random(seed)

    def some(alphabet: str, count: int) -> str:
        found = "".join(rng.choice(alphabet) for _ in range(count))
        # a generated secret has letters and digits; a run of one class is no token
        return found[:-2] + rng.choice("234567") + rng.choice("abcdef" if "a" in alphabet else "ABCDEF")

    def b64(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    def pem(kind: str) -> tuple[str, str]:
        body = some(_WORD, 64)
        return f"-----BEGIN {kind}-----\n{body}\n{some(_WORD, 40)}==\n-----END {kind}-----", body

    found: list[tuple[str, str, str]] = []

    def add(kind: str, form: str, secret: str) -> None:
        found.append((kind, form.replace("@@", secret), secret))

    uuid = "-".join(some(_HEX, size) for size in (8, 4, 4, 4, 12))
    word = some(_WORD, 24)
    strong = "Tr0ub4dor" + "&3x"
    add("aws access key id", "aws=@@", "AK" + "IA" + some(_UPPER, 16))
    add("aws temporary key id", "using @@ for s3", "AS" + "IA" + some(_UPPER, 16))
    add("aws secret access key", "aws_secret_access_key = @@", some(_WORD + "/+", 40))
    add("aws session token", "export AWS_SESSION_TOKEN=@@", some(_WORD + "/+", 120) + "==")
    add("aws signed url", "GET https://b.s3.amazonaws.com/k?X-Amz-Expires=60&X-Amz-Signature=@@", some(_HEX, 64))
    for kind, mark in (("personal", "p"), ("oauth", "o"), ("user", "u"), ("server", "s"), ("refresh", "r")):
        add(f"github {kind} token", "token @@ was used", f"gh{mark}" + "_" + some(_WORD, 36))
    add("github fine-grained token", "git clone with @@", "github" + "_pat_" + some(_WORD, 22) + "_" + some(_WORD, 59))
    add("gitlab personal token", "remote: @@", "gl" + "pat-" + some(_WORD, 20))
    add("gitlab deploy token", "pull with @@", "gl" + "dt-" + some(_WORD, 20))
    add("gitlab runner token", "register @@", "gl" + "rt-" + some(_WORD, 20))
    add("slack bot token", "SLACK @@", "xo" + "xb-" + some(string.digits, 12) + "-" + some(_WORD, 24))
    add("slack user token", "as @@", "xo" + "xp-" + some(string.digits, 12) + "-" + some(_HEX, 32))
    add("slack app token", "socket @@", "xa" + "pp-1-" + some(_UPPER, 11) + "-" + some(_HEX, 64))
    add("slack webhook", "post to https://hooks.slack.com/services/@@", f"T{some(_UPPER, 8)}/B{some(_UPPER, 8)}/{word}")
    add("discord webhook", "https://discord.com/api/webhooks/112233445566778899/@@", some(_WORD + "-_", 68))
    add("discord bot token", "login @@", "M" + some(_WORD, 23) + "." + some(_WORD, 6) + "." + some(_WORD, 27))
    add(
        "teams webhook",
        f"https://corp.webhook.office.com/webhookb2/@@/IncomingWebhook/{some(_HEX, 32)}/{uuid}",
        uuid + "@" + uuid,
    )
    add("stripe secret key", "charge with @@ failed", "sk" + "_live_" + some(_WORD, 24))
    add("stripe restricted key", "charge with @@ failed", "rk" + "_live_" + some(_WORD, 24))
    add("stripe webhook secret", "verify @@", "wh" + "sec_" + some(_WORD, 32))
    add("twilio api key", "client @@", "S" + "K" + some(_HEX, 32))
    add("twilio auth token", "TWILIO_AUTH_TOKEN=@@", some(_HEX, 32))
    add("sendgrid", "mail @@", "S" + "G." + some(_WORD, 22) + "." + some(_WORD, 43))
    add("mailgun", "api: @@", "key" + "-" + some(_HEX, 32))
    add("mailchimp", "list @@", some(_HEX, 32) + "-us" + "12")
    add("npm token", "publish with @@", "np" + "m_" + some(_WORD, 36))
    add("npmrc", "//registry.example/:_authToken=@@", uuid)
    add("pypi token", "upload @@", "py" + "pi-AgEI" + some(_WORD, 60))
    add("rubygems token", "gem push @@", "ruby" + "gems_" + some(_HEX, 48))
    add("docker hub token", "docker @@", "dck" + "r_pat_" + some(_WORD, 27))
    add("openai key", "my key is @@", "s" + "k-" + some(_WORD, 48))
    add("openai project key", "my key is @@", "s" + "k-proj-" + some(_WORD, 48))
    add("anthropic key", "use @@ now", "s" + "k-ant-api03-" + some(_WORD + "-_", 90))
    add("openrouter key", "use @@ now", "s" + "k-or-v1-" + some(_HEX, 64))
    add("google api key", "maps @@", "AI" + "za" + some(_WORD, 35))
    add("google oauth token", "token ya" + "29.@@", some(_WORD + "-_", 60))
    add("google oauth secret", "client @@", "GOC" + "SPX-" + some(_WORD, 28))
    text, body = pem("PRIVATE KEY")
    key_file = {"type": "service_account", "project_id": "p", "private_key": text + "\n", "client_email": "a@p.example"}
    found.append(("gcp service account", json.dumps(key_file), body))
    add(
        "azure storage connection",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=@@;EndpointSuffix=x",
        some(_WORD + "/+", 86) + "==",
    )
    add("azure sas", "https://a.blob.core.windows.net/c?sv=2024-01-01&se=2026&sr=c&sig=@@", some(_WORD, 40) + "%3D")
    add(
        "azure service bus",
        "Endpoint=sb://x.example/;SharedAccessKeyName=Root;SharedAccessKey=@@",
        some(_WORD, 43) + "=",
    )
    add("azure client secret", "az login with @@", some(_WORD, 3) + "8" + "Q~" + some(_WORD, 34))
    add("datadog api key", "DD_API_KEY: @@", some(_HEX, 32))
    add("datadog application key", "-H 'DD-APPLICATION-KEY: @@'", some(_HEX, 40))
    add("heroku api key", "HEROKU_API_KEY=@@", uuid)
    add("digitalocean token", "doctl auth @@", "do" + "p_v1_" + some(_HEX, 64))
    add("telegram bot token", "bot @@ started", "12345678" + "90:A" + "A" + some(_WORD, 33))
    found.append(
        ("telegram bot url", "https://api.telegram.org/bot12345678" + "90:A" + "A" + word + word[:9] + "/getMe", word)
    )
    add("hugging face token", "hub @@", "h" + "f_" + some(_WORD, 34))
    add("replicate token", "run @@", "r" + "8_" + some(_WORD, 37))
    add("groq key", "ask @@", "gs" + "k_" + some(_WORD, 52))
    add("langsmith key", "trace @@", "ls" + "v2_pt_" + some(_HEX, 32) + "_" + some(_HEX, 10))
    add("vault token", "vault @@", "hv" + "s." + some(_WORD, 24))
    add("databricks token", "dbx @@", "da" + "pi" + some(_HEX, 32))
    add("terraform cloud token", 'token = "@@"', some(_WORD, 14) + ".atl" + "asv1." + some(_WORD, 60))
    add("grafana service account", "grafana @@", "gl" + "sa_" + some(_WORD, 32) + "_" + some(_HEX, 8))
    add("new relic key", "NR @@", "NR" + "AK-" + some(_UPPER, 27))
    add("sentry token", "cli @@", "sn" + "trys_" + some(_WORD, 60))
    add("sentry dsn", "dsn https://@@@o1.ingest.sentry.io/1", some(_HEX, 32))
    add("atlassian token", "jira @@", "AT" + "ATT3xFfGF0" + some(_WORD, 60))
    add("notion token", "notion @@", "nt" + "n_" + some(_WORD, 46))
    add("figma token", "figma @@", "fi" + "gd_" + some(_WORD, 40))
    add("airtable token", "airtable @@", "pa" + "t" + some(_WORD, 14) + "." + some(_HEX, 64))
    add("shopify token", "shop @@", "sh" + "pat_" + some(_HEX, 32))
    add("square token", "pay @@", "sq" + "0atp-" + some(_WORD, 22))
    add("linear key", "issue @@", "li" + "n_api_" + some(_WORD, 40))
    add("postman key", "run @@", "PM" + "AK-" + some(_HEX, 24) + "-" + some(_HEX, 34))
    add("alibaba key", "oss @@", "LT" + "AI" + some(_WORD, 20))
    add("cloudflare token", "CF_API_TOKEN=@@", some(_WORD, 40))
    add("planetscale password", "db @@", "psc" + "ale_pw_" + some(_WORD, 32))
    add("age key", "identity @@", "AGE-SECRET" + "-KEY-1" + some(_UPPER, 58))
    for kind in ("OPENSSH PRIVATE KEY", "RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"):
        text, body = pem(kind)
        found.append((kind.lower(), text, body))
    add("jwt", "session ey" + "JhbGciOiJIUzI1NiJ9.@@", some(_WORD, 40) + "." + some(_WORD, 43))
    add("basic auth header", "Authorization: Basic @@", b64("alice:" + strong))
    add("basic auth in text", "sent Basic @@ to the host", b64("alice:" + strong))
    add("bearer header", "authorization: Bearer @@", word)
    add("bearer in curl", "curl -H 'Authorization: Bearer @@' https://h.example", word)
    add("api key header", "X-Api-Key: @@", word)
    add("cookie header", "Cookie: theme=dark; sid=@@", word)
    add("set-cookie header", "Set-Cookie: session=@@; HttpOnly", word)
    add("netrc", "machine h.example login ada password @@", strong)
    add("netrc of lines", "machine h.example\n  login ada\n  password @@\n", "swordfish")
    add("pgpass", "db.example:5432:app:ada:@@", strong)
    add("pgpass any", "*:*:*:ada:@@", "swordfish77")
    add("my.cnf", "[client]\nuser=ada\npassword=@@\n", "swordfish")
    add("kubeconfig key", "    client-key-data: @@", b64("-----BEGIN RSA" + word * 3))
    add("kubeconfig token", "users:\n- name: a\n  user:\n    token: @@", word)
    add(
        "kubernetes secret data",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\ndata:\n  url: @@\n",
        b64("swordfish" * 2),
    )
    add("kubernetes secret stringData", "kind: Secret\nstringData:\n  config: @@\nmetadata:\n  name: x", "swordfish")
    add("kubernetes secret json", '{"kind": "Secret", "data": {"url": "@@"}}', b64("swordfish" * 2))
    add("kubernetes env", "env:\n- name: DB_PASSWORD\n  value: @@\n", "swordfish")
    add("kubectl literal", "kubectl create secret generic x --from-literal=password=@@", "swordfish")
    add("docker auth", '{"auths": {"r.example": {"auth": "@@"}}}', b64("alice:secretword"))
    add("docker login -p", "docker login -u ada -p @@ r.example", "swordfish")
    add("sshpass", "sshpass -p @@ ssh ada@h.example", "swordfish")
    add("sshpass quoted", "sshpass -p '@@' ssh ada@h.example", "sword fish")
    add("mysql -p", "mysql -u root -p@@ app", "swordfish")
    add("mysqldump -p", "mysqldump --host=h -uroot -p@@ app > x.sql", "swordfish")
    add("redis-cli -a", "redis-cli -h r -a @@ ping", "swordfish")
    add("option with a space", "deploy --password @@ --verbose", "swordfish")
    add("option with =", "deploy --db-password=@@ --verbose", "swordfish")
    add("PGPASSWORD", "PGPASSWORD=@@ psql -h db app", "swordfish")
    add("curl -u", "curl -u ada:@@ https://h.example", "swordfish")
    add("curl --user", "curl --user ada:@@ https://h.example", "swordfish")
    add("url userinfo", "postgres://app:@@@db.example/app", "swordfish")
    add("redis url", "redis://:@@@cache.example:6379/0", "swordfish9")
    add("url query", "GET /hook?token=@@&x=1", word)
    add("yaml", "password: @@", "hunter2hunter2")
    add("yaml block scalar", "password: |\n  @@\nnext: 1", "swordfish two")
    add("yaml folded scalar", "api_key: >-\n    @@\nnext: 1", word)
    add("json in a string", json.dumps({"body": json.dumps({"api_key": "@@"})}), word)
    add("python literal", "connect(user='ada', password='@@')", "swordfish")
    add("export", "export STRIPE_KEY_SECRET='@@'", word)
    add("dockerfile env", "ENV API_TOKEN @@", word)
    add("fish", "set -gx GITHUB_TOKEN @@", word)
    add("powershell", '$env:API_KEY = "@@"', word)
    add("terraform variable", 'variable "db_password" {\n  default = "@@"\n}', "swordfish")
    add("tfvars", 'db_password = "@@"', "swordfish")
    add("spring", "spring.datasource.password=@@", "swordfish")
    add("ado.net", "Server=h;User ID=sa;Password=@@;Encrypt=true", "Sw0rdfish")
    add("xml", "<password>@@</password>", "swordfish")
    add("sql identified by", "CREATE USER ada IDENTIFIED BY '@@'", "swordfish")
    add("sql password", "ALTER USER ada WITH PASSWORD '@@'", "swordfish")
    add("htpasswd", "ada:$apr1$@@", some(_WORD, 8) + "$" + some(_WORD, 22))
    add("shadow", "ada:$6$@@:19000:0:99999:7:::", some(_WORD, 16) + "$" + some(_WORD, 86))
    add("redis.conf", "requirepass @@", "swordfish")
    add("wifi", 'psk="@@"', "swordfish")
    add("ansible", "ansible_become_pass: @@", "swordfish1")
    return found
