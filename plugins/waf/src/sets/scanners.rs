//! Vulnerability scanners, and the targets of their probes.

use super::BuiltIn;

pub(super) const RULES: &[BuiltIn] = &[
    BuiltIn {
        id: "scanners-agent",
        score: 5,
        lane: "scanners",
        what: "a scanner that names itself",
        when: r"header.user-agent matches /sqlmap|nikto|nessus|openvas|acunetix|netsparker|invicti|wpscan|dirbuster|gobuster|feroxbuster|wfuzz|fuzz faster u fool|nuclei|masscan|zgrab|nmap scripting|havij|arachni|w3af|jaeles|skipfish|whatweb|commix|dirsearch|zmeu|morfeus|owasp zap|burp ?collaborator|l9explore|xray scanner/i",
    },
    BuiltIn {
        id: "scanners-dotfile",
        score: 5,
        lane: "scanners",
        what: "a file that is not meant to be served",
        when: r"normalize_text(path) matches /\/(?:\.git|\.svn|\.hg|\.bzr|\.aws|\.ssh|\.docker|\.kube|\.idea|\.vscode)(?:\/|$)|\/\.(?:env(?:\.[a-z]+)?|htpasswd|htaccess|ds_store|npmrc|netrc|pgpass|dockercfg|bash_history|git-credentials)$|\/(?:id_rsa|id_ed25519|wp-config\.php(?:\.[a-z]+|~)?|web\.config|credentials\.json|docker-compose\.ya?ml)$|\.(?:sql|bak|old|swp)(?:\.gz|\.zip|\.bz2)?$|\.php~$/",
    },
    BuiltIn {
        id: "scanners-probe",
        score: 5,
        lane: "scanners",
        what: "a well-known vulnerability of some application",
        when: r"normalize_text(path) matches /\/vendor\/phpunit\/|\/boaform\/|^\/hnap1\/?|^\/cgi-bin\/(?:luci|\.)|\/actuator\/(?:env|heapdump|gateway|jolokia|threaddump)\b|^\/solr\/admin\/|^\/manager\/html\b|\/_ignition\/execute-solution|^\/setup\.cgi|^\/telescope\/requests|^\/debug\/pprof\b|^\/server-status$|\/\+cscoe\+\/|^\/ecp\/current\/exporttool|^\/owa\/auth\/x\.js|\/geoserver\/wfs\b|^\/(?:phpmyadmin|pma|myadmin|dbadmin)\/(?:scripts|setup)\//",
    },
    BuiltIn {
        id: "scanners-no-agent",
        score: 2,
        lane: "scanners",
        what: "no User-Agent",
        when: "count(header.user-agent) == 0",
    },
];
