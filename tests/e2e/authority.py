"""A certificate authority of the test, made with the openssl command: good certificates, and those
that nobody should take."""
import time

from rig import have


class Authority:
    def __init__(self, r, name="authority"):
        have("openssl")
        self.r, self.name, self.serial = r, name, 0
        self.key, self.root = r.dir / f"{name}.key", r.dir / f"{name}.pem"
        self._key(self.key)
        r.run(["openssl", "req", "-x509", "-new", "-key", self.key, "-out", self.root, "-days", "30",
               "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
               "-addext", "keyUsage=critical,keyCertSign"])

    def _key(self, path):
        self.r.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-out", path])

    def certificate(self, label, names, expired=False, self_signed=False, eku=None):
        """`names` as OpenSSL writes them: ["DNS:a.test", "URI:sip:a.test"]; (chain, key) files."""
        r, self.serial = self.r, self.serial + 1
        key, chain = r.dir / f"{label}.key", r.dir / f"{label}.crt"
        request, folder = r.dir / f"{label}.csr", r.dir / f"{label}.ca"
        self._key(key)
        if self_signed:
            r.run(["openssl", "req", "-x509", "-new", "-key", key, "-out", chain, "-days", "30",
                   "-subj", f"/CN={label}", "-addext", f"subjectAltName={','.join(names)}"])
            return chain, key
        folder.mkdir()
        (folder / "index").write_text("")
        (folder / "serial").write_text(f"{self.serial:04x}\n")
        extensions = [f"subjectAltName={','.join(names)}", "basicConstraints=CA:FALSE"]
        if eku:
            extensions.append(f"extendedKeyUsage={eku}")
        config = folder / "conf"
        config.write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndir={folder}\nnew_certs_dir={folder}\n"
            f"database={folder}/index\nserial={folder}/serial\ndefault_md=sha256\npolicy=p\n"
            "unique_subject=no\nx509_extensions=x\n[p]\ncommonName=supplied\n[x]\n" +
            "\n".join(extensions) + "\n")
        r.run(["openssl", "req", "-new", "-key", key, "-out", request, "-subj", f"/CN={label}"])

        def at(days):
            return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))

        r.run(["openssl", "ca", "-batch", "-config", config, "-cert", self.root, "-keyfile",
               self.key, "-in", request, "-out", chain, "-notext", "-startdate", at(-9),
               "-enddate", at(-1 if expired else 20)])
        return chain, key
