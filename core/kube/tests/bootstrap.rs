//! The bootstrap objects in a real store: created once, left alone afterwards, quickly.

use std::{collections::BTreeMap, error::Error, net::IpAddr, sync::Arc, time::Duration};

use triune_api::{
    meta,
    names::{GroupResource, ObjectKey},
};
use triune_env::Env;
use triune_kube::{BootstrapOptions, Settings, bootstrap_objects, ensure_bootstrap};
use triune_machinery::registry::Resource;
use triune_store::{
    Store, StoreOptions,
    types::{Change, Expect, Write},
};

fn options(port: u16) -> BootstrapOptions {
    BootstrapOptions {
        settings: Settings::default(),
        advertise_address: IpAddr::from([192, 0, 2, 1]),
        port,
        hostname: "vm".into(),
        authentication: BTreeMap::new(),
        now: jiff::Timestamp::UNIX_EPOCH,
        holder_suffix: "x".into(),
    }
}

async fn store(env: &Env) -> Result<Arc<Store>, Box<dyn Error>> {
    Ok(Store::open(env.clone(), triune_storage::memory(env.clone()), StoreOptions::default()).await?)
}

fn resources() -> Result<Vec<Arc<Resource>>, Box<dyn Error>> {
    Ok(triune_kube::resources(&triune_kube::facts()?)?.into_iter().map(Arc::new).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_together_create_everything_once() -> Result<(), Box<dyn Error>> {
    let env = triune_platform::env();
    let (store, resources) = (store(&env).await?, resources()?);
    let objects = bootstrap_objects(&options(6443))?;
    let all = objects.len();
    let started = env.clock.now();
    let (first, second) = futures::join!(
        ensure_bootstrap(&env, &store, &resources, objects.clone()),
        ensure_bootstrap(&env, &store, &resources, objects.clone()),
    );
    assert_eq!(first? + second?, all);
    // Far above what it takes: only a pile-up of retries or waits gets there.
    assert!(env.clock.now() - started < Duration::from_secs(5));
    assert_eq!(ensure_bootstrap(&env, &store, &resources, objects).await?, 0);
    Ok(())
}

#[tokio::test]
async fn changes_stay_and_endpoints_follow_the_server() -> Result<(), Box<dyn Error>> {
    let env = triune_platform::env();
    let (store, resources) = (store(&env).await?, resources()?);
    ensure_bootstrap(&env, &store, &resources, bootstrap_objects(&options(6443))?).await?;
    let role = ObjectKey::new(GroupResource::new("rbac.authorization.k8s.io", "clusterroles"), "", "view");
    let there = store.get(&role).await?.ok_or("no role")?;
    let mut changed = meta::body_to_value(&there.body)?;
    changed["rules"] = serde_json::json!([]);
    let body = meta::split_body(changed);
    let change = Change::Put { body: body.clone(), uid: there.uid, terminating: false, time_to_live: None };
    let expect = Expect::Revision(there.revision);
    store.commit(Write { key: role.clone(), expect, change, fences: Vec::new(), claims: Vec::new() }).await?;

    assert_eq!(ensure_bootstrap(&env, &store, &resources, bootstrap_objects(&options(7443))?).await?, 0);
    assert_eq!(store.get(&role).await?.ok_or("no role")?.body, body);
    let endpoints = ObjectKey::new(GroupResource::new("", "endpoints"), "default", "kubernetes");
    let endpoints = meta::body_to_value(&store.get(&endpoints).await?.ok_or("no endpoints")?.body)?;
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], 7443);
    assert_eq!(endpoints["metadata"]["name"], "kubernetes");
    Ok(())
}

#[tokio::test]
async fn objects_wait_for_their_namespace_and_are_never_there_before_it() -> Result<(), Box<dyn Error>> {
    let env = triune_platform::env();
    let (store, resources) = (store(&env).await?, resources()?);
    let all = bootstrap_objects(&options(6443))?;
    let (namespaces, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|object| meta::kind(object) == "Namespace");
    let key = |group: &str, resource: &str, namespace: &str, name: &str| {
        ObjectKey::new(GroupResource::new(group, resource), namespace, name)
    };
    let later = async {
        env.sleep(Duration::from_millis(50)).await;
        let early = store.get(&key("", "configmaps", "kube-system", "extension-apiserver-authentication")).await?;
        assert!(early.is_none(), "a config map is there before its namespace");
        ensure_bootstrap(&env, &store, &resources, namespaces).await.map_err(Box::<dyn Error>::from)
    };
    let (others, namespaces) = futures::join!(ensure_bootstrap(&env, &store, &resources, others), later);
    assert!(others? > 0 && namespaces? > 0);
    Ok(())
}
