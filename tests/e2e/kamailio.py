"""Kamailio as a foreign domain: mutual TLS with the world, plain TCP for its own scripted phones."""
import glob

from rig import Skip, have

CONFIG = """#!KAMAILIO
debug=2
log_stderror=yes
children=2
tcp_children=2
auto_aliases=no
alias="{domain}"
enable_tls=yes
listen=tls:{at}:5061 advertise "{domain}":5061
listen=tcp:{at}:5060
mpath="{modules}/"
loadmodule "tls.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
modparam("tls", "config", "{folder}/tls.cfg")

request_route {{
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{
            t_relay();
        }} else if (is_method("ACK")) {{
            t_check_trans();
        }} else {{
            sl_send_reply("404", "Not here");
        }}
        exit;
    }}
    t_check_trans();
    if (proto == TLS && !is_peer_verified()) {{
        sl_send_reply("403", "Prove your name");
        exit;
    }}
    if (is_method("REGISTER")) {{
        save("location");
        exit;
    }}
    record_route();
    if ($rd == "{domain}") {{
        if (!lookup("location")) {{
            sl_send_reply("404", "Not Found");
            exit;
        }}
    }} else {{
        $du = "sip:" + $rd + ";transport=tls";
    }}
    t_relay();
}}
"""

TLS = """[server:default]
method = TLSv1.2+
certificate = {chain}
private_key = {key}
ca_list = {root}
verify_certificate = yes
require_certificate = no

[client:default]
method = TLSv1.2+
certificate = {chain}
private_key = {key}
ca_list = {root}
verify_certificate = yes
require_certificate = yes
"""


def start(r, ca, domain, at):
    have("kamailio")
    modules = glob.glob("/usr/lib/*/kamailio/modules")
    if not modules or not glob.glob(f"{modules[0]}/tls.so"):
        raise Skip("kamailio-tls-modules is not installed")
    folder = r.dir / "kamailio"
    folder.mkdir()
    chain, key = ca.certificate("kamailio", [f"URI:sip:{domain}", f"DNS:{domain}"])
    (folder / "tls.cfg").write_text(TLS.format(chain=chain, key=key, root=ca.root))
    config = folder / "kamailio.cfg"
    config.write_text(CONFIG.format(domain=domain, at=at, modules=modules[0], folder=folder))
    return r.start("kamailio", ["kamailio", "-DD", "-E", "-f", config, "-m", "64", "-M", "8", "-Y",
                                folder, "-P", folder / "pid"])
