"""`xpsync cp` as a command: its profiles, environment and arguments. Runs nothing."""
import configparser, os


class Command:
    """Each server is a profile of its name, and one with wrong keys."""

    def __init__(self, folder, ca, xpsync, servers):
        self.folder, self.ca, self.xpsync = folder, ca, xpsync
        config, credentials = configparser.RawConfigParser(), configparser.RawConfigParser()
        for server in servers:
            config[f"profile {server.name}"] = {"region": server.region}
            credentials[server.name] = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
            credentials[f"{server.name}-wrong"] = {"aws_access_key_id": server.access_key, "aws_secret_access_key": "wrong"}
        for name, content in (("config", config), ("credentials", credentials)):
            with open(folder / name, "w") as f:
                content.write(f)

    def environment(self, **more):
        return {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {
            "AWS_CA_BUNDLE": str(self.ca), "AWS_CONFIG_FILE": str(self.folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "credentials"), "AWS_EC2_METADATA_DISABLED": "true",
            "XDG_STATE_HOME": str(self.folder / "state"), **more}

    def cp(self, source, source_bucket, target, target_bucket, key, target_profile=None):
        return [self.xpsync, "cp", "--json",
                "--source-endpoint-url", source.url, "--source-region", source.region, "--source-profile", source.name,
                "--target-endpoint-url", target.url, "--target-region", target.region, "--target-profile", target_profile or target.name,
                f"s3://{source_bucket}/{key}", f"s3://{target_bucket}/"]
