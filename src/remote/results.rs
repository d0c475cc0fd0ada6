//! Large results of earlier steps, read over the server's API.

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{StatusCode, Url};

use super::StartError;
use crate::blob::{BlobInfo, Blobs, Error};
use crate::model::Digest;

/// The results of the server at an address, if one is known.
#[derive(Debug)]
pub(super) struct HttpResults {
    http: reqwest::Client,
    api: Option<Url>,
}

impl HttpResults {
    pub(super) fn new(api: Option<String>) -> Result<Self, StartError> {
        let parse = |address: String| {
            let url = Url::parse(&address).map_err(|error| error.to_string());
            let url =
                url.and_then(|url| if url.cannot_be_a_base() { Err("it has no path".to_owned()) } else { Ok(url) });
            url.map_err(|problem| StartError::Api { address, problem })
        };
        Ok(Self { http: reqwest::Client::new(), api: api.map(parse).transpose()? })
    }

    async fn fetch(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let unavailable = |error: &dyn std::fmt::Display| Error::Unavailable(error.to_string());
        let Some(mut url) = self.api.clone() else {
            return Err(Error::ReadOnly("no address of the server's API is known".to_owned()));
        };
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["results", &digest.to_string()]);
        }
        let answer = self.http.get(url).send().await.map_err(|error| unavailable(&error))?;
        match answer.status() {
            StatusCode::OK => answer.bytes().await.map(Some).map_err(|error| unavailable(&error)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(Error::Unavailable(format!("the server answered {status}"))),
        }
    }
}

#[async_trait]
impl Blobs for HttpResults {
    async fn put(&self, _: Bytes) -> Result<Digest, Error> {
        Err(Error::ReadOnly("a remote driver's data travels in its result".to_owned()))
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let Some(bytes) = self.fetch(digest).await? else { return Ok(None) };
        let found = Digest::of(&bytes);
        if found == *digest { Ok(Some(bytes)) } else { Err(Error::Damaged { digest: digest.clone(), found }) }
    }

    async fn list(&self, _: Option<Digest>, _: usize) -> Result<Vec<BlobInfo>, Error> {
        Err(Error::ReadOnly("results are not listed".to_owned()))
    }

    async fn delete(&self, _: &Digest) -> Result<(), Error> {
        Err(Error::ReadOnly("results belong to the server".to_owned()))
    }
}
