"""scripts/install-deps: each release's package names; nothing started, nothing enabled, nothing
removed.

Otherwise a test run could enable nginx and a Ceph cluster, noticed at the next boot when the ports
are taken.

apt and dpkg are fakes; /etc and /usr/sbin are the machine's, with writes redirected to the test's
folder.
"""

import os

import pytest

from support.checkout import MISSING, PROXIES, may_overlay, overlaid

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can have mounts of its own")

# Installs two services as packages do: with their units, their links, an init script. Tells whether
# a service would have been started.
APT = """#!/bin/sh
echo "$*" >>{notes}/apt
env | grep -i proxy >>{notes}/proxies
case "$*" in
    *update*) exit {update} ;;
esac
/usr/sbin/policy-rc.d; echo $? >{notes}/policy
for name in brought brought-too; do
    printf '[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n' \\
        >/etc/systemd/system/$name.service
    ln -sf /etc/systemd/system/$name.service /etc/systemd/system/multi-user.target.wants/
done
printf '#!/bin/sh\\n### BEGIN INIT INFO\\n# Provides: brought\\n# Default-Start: 2 3 4 5\\n' \\
    >/etc/init.d/brought
printf '# Default-Stop: 0 1 6\\n### END INIT INFO\\n' >>/etc/init.d/brought
chmod 755 /etc/init.d/brought
for level in 2 3 4 5; do
    mkdir -p /etc/rc$level.d
    ln -sf ../init.d/brought /etc/rc$level.d/S01brought
done
exit {status}
"""
PREPARE = """
rm -f /etc/os-release
[ ! -e {folder}/os-release ] || cp {folder}/os-release /etc/os-release
mkdir -p /etc/systemd/system/multi-user.target.wants /etc/rc2.d /etc/init.d
printf '[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n' \\
    >/etc/systemd/system/kept.service
ln -s /etc/systemd/system/kept.service /etc/systemd/system/multi-user.target.wants/
rm -f /usr/sbin/policy-rc.d
ln -s ../init.d/kept /etc/rc2.d/S01kept
status=0
"$@" || status=$?
find /etc/systemd/system /etc/rc2.d /etc/rc3.d \\( -path '*.wants/*' -o -name 'S*' \\) \\
    -printf '%f\\n' \\
    >{notes}/enabled
[ ! -e /usr/sbin/policy-rc.d ] || echo /usr/sbin/policy-rc.d >>{notes}/enabled
exit $status
"""


class Machine:
    def __init__(self, make_checkout, folder, release):
        if not may_overlay(folder / "overlay"):
            pytest.skip("mounts are not permitted here")
        self.checkout = make_checkout()
        self.folder = folder
        self.checkout.fake("dpkg-query", MISSING)
        self.apt()
        if release:
            (folder / "os-release").write_text(release)

    def apt(self, update=0, status=0):
        text = APT.replace("{update}", str(update)).replace("{status}", str(status))
        self.checkout.fake("apt-get", text)

    def run(self, *arguments, env=None):
        script = PREPARE.replace("{folder}", str(self.folder))
        prefix = overlaid(
            self.folder / "overlay",
            ["/etc", "/usr/sbin"],
            script.replace("{notes}", str(self.checkout.notes)),
        )
        return self.checkout.run(["scripts/install-deps", *arguments], env=env, prefix=prefix)

    def asked(self):
        return " ".join(line for line in self.checkout.noted("apt") if "install" in line).split()


DEBIAN = 'PRETTY_NAME="Debian GNU/Linux {0}"\nID=debian\nVERSION_ID="{0}"\n'


@pytest.fixture(name="machine")
def machine_fixture(make_checkout, tmp_path):
    return lambda release=DEBIAN.format(12): Machine(make_checkout, tmp_path, release)


@pytest.mark.parametrize(
    "version, has, has_not",
    [
        ("12", ["libboost1.81-dev", "libboost-json1.81-dev"], ["libboost-dev"]),
        ("13", ["libboost-dev", "libboost-json-dev"], ["libboost1.81-dev"]),
    ],
)
@pytest.mark.parametrize("kind", [[], ["build"], ["test"], ["bench"], ["fuzz"], ["style"]])
def test_names_of_the_release(machine, version, has, has_not, kind):
    machine = machine(DEBIAN.format(version))
    done = machine.run(*kind)
    assert done.returncode == 0, done.stderr
    asked = machine.asked()
    assert set(has) <= set(asked) and not set(has_not) & set(asked)
    assert ("libgmock-dev" in asked) == (kind == ["test"])
    # No installed package is removed without a question.
    assert "--no-remove" in asked


@pytest.mark.parametrize(
    "release",
    [
        'PRETTY_NAME="Ubuntu 24.04 LTS"\nID=ubuntu\nVERSION_ID="24.04"\nID_LIKE=debian\n',
        DEBIAN.format(11),
        DEBIAN.format(120),
        "ID=debian\n",
        None,
    ],
)
def test_elsewhere_one_sentence(machine, release):
    machine = machine(release)
    done = machine.run("test")
    said = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(said) == 1
    assert said[0].startswith("install-deps: only Debian 12 and 13 are known")
    assert "Boost 1.81" in said[0] and not machine.checkout.noted("apt")


@pytest.mark.parametrize("status", [0, 100])
def test_no_service_started_or_enabled(machine, status):
    """Also when apt fails halfway. Services that were enabled before stay enabled."""
    machine = machine()
    machine.apt(status=status)
    done = machine.run("test")
    assert done.returncode == min(status, 1), done.stderr
    assert machine.checkout.noted("policy") == ["101"]
    enabled = machine.checkout.noted("enabled")
    assert "kept.service" in enabled and "S01kept" in enabled
    assert not [name for name in enabled if "brought" in name], enabled
    assert "/usr/sbin/policy-rc.d" not in enabled
    assert "brought.service" in done.stdout
    if status:
        assert "apt-get could not install them" in done.stderr.strip().splitlines()[-1]


def test_all_there_is_quiet(machine):
    machine = machine()
    machine.checkout.fake("dpkg-query", "#!/bin/sh\necho installed\n")
    done = machine.run("test")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not machine.checkout.noted("apt")


def test_a_source_out_of_order_is_no_end(machine):
    machine = machine()
    machine.apt(update=100)
    assert machine.run().returncode == 0
    assert "g++" in machine.asked()


def test_proxy_reaches_apt_through_sudo(machine):
    """sudo drops the variables; a machine that needs a proxy would get no package."""
    machine = machine()
    machine.checkout.fake("id", "#!/bin/sh\necho 1000\n")
    machine.checkout.fake("sudo", '#!/bin/sh\nexec env -i PATH="$PATH" "$@"\n')
    done = machine.run(env=PROXIES)
    assert done.returncode == 0, done.stderr
    assert f"http_proxy={PROXIES['http_proxy']}" in machine.checkout.noted("proxies")


def test_usage(machine):
    machine = machine()
    for arguments in (["everything"], ["build", "test"]):
        done = machine.run(*arguments)
        assert done.returncode == 2 and done.stderr.startswith("usage: scripts/install-deps")
