//! Mercure's standalone server, configured by arguments as its documentation has them: the history in a file (Bolt) that keeps 1,000
//! updates, gzip for each client. Rooms are topics; API and clients share one TLS listener.

use super::{
    Program, Publication,
    contender::{Contender, OverHttp, Running, Site},
    free_address, install,
};
use crate::{
    callers::{Api, Request},
    dialect::Dialect,
    error::BenchError,
    foreign::Foreign,
};

const HUB: &str = "/.well-known/mercure";
/// The secret of its documentation's examples.
const SECRET: &str = "!ChangeThisMercureHubJWTSecretKey!";
/// Signed with it: `{"alg":"HS256","typ":"JWT"}`, `{"mercure":{"publish":["*"]}}`.
const PUBLISHER: &str = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJtZXJjdXJlIjp7InB1Ymxpc2giOlsiKiJdfX0.\
                         a8cjcSRUAcHdnGNMKifA4BK5epRXxQI0UBp2XpNrBdw";

/// Starts it; it is built first if it is not there yet.
pub(crate) async fn contend(site: &Site, deflate: bool) -> Result<Box<dyn Contender>, BenchError> {
    let mercure = install::mercure().await?;
    let address = free_address()?;
    let history = site.out.join("mercure.db");
    drop(std::fs::remove_file(&history));
    let arguments = [
        format!("--addr={address}"),
        format!("--cert-file={}", site.certificate.display()),
        format!("--key-file={}", site.key.display()),
        format!("--jwt-key={SECRET}"),
        format!("--transport-url=bolt://{}?size=1000&cleanup_frequency=0.1", history.display()),
        "--allow-anonymous".to_owned(),
        format!("--compress={deflate}"),
    ];
    let api = Api { address, tls: true };
    let probe = Request::new("GET", "/healthz", "none", "");
    let program = Program::start("mercure", &mercure, &arguments, &site.out, api, probe).await?;
    let dialect = Dialect::Foreign(Foreign::Mercure);
    OverHttp::start(Running::Program(program), address, dialect, api, request).await
}

fn request(event: &Publication) -> Request {
    let Publication { room, data } = event;
    Request::form(HUB, PUBLISHER, &[("topic", room), ("data", data)])
}
