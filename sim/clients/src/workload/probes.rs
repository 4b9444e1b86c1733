//! What load balancers, kubelets and discovery clients ask: health, version, lists of resources.

use serde::{Deserialize, Serialize};
use triune_env::BoxFuture;

use super::Theme;
use crate::{
    random::Random,
    request::Request,
    session::{Session, Steps},
};

/// Paths that are asked for.
pub const PATHS: [&str; 8] =
    ["/readyz", "/livez", "/healthz", "/version", "/api", "/apis", "/api/v1", "/apis/coordination.k8s.io/v1"];

/// Knobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// Pause before each.
    pub think_ms: (u64, u64),
    /// Paths.
    pub paths: Vec<String>,
}

impl Probes {
    /// Draws knobs.
    pub fn draw(random: &mut Random, theme: &Theme) -> Probes {
        let paths = random.subset(&PATHS, 60).into_iter().map(str::to_owned).collect();
        Probes { think_ms: theme.part_ms((60, 12)), paths }
    }

    /// Runs it.
    pub async fn run(&self, session: &Session) {
        session.drive(1, self.think_ms, self).await;
    }
}

impl Steps for Probes {
    fn step<'a>(&'a self, session: &'a Session, _: u64, mut random: Random) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // Probes are not repeated: what they are told counts.
            let api = session.api(&mut random);
            if let Some(path) = random.pick(&self.paths) {
                api.call(&Request::path(path)).await;
            }
        })
    }
}
