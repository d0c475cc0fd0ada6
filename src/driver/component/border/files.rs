//! The files of a guest: the interface of WASI, with a note of what is done in which folder. What is allowed is decided
//! by the access with which the folder was opened; here it is told.

use std::collections::HashMap;

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream, Filesize,
    HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsResult};

use crate::driver::component::state::State;
use crate::model::Access;

/// In which folder each open file is, by the number of its handle.
#[derive(Debug, Default)]
pub(in super::super) struct Places(HashMap<u32, String>);

type File = Resource<Descriptor>;

/// Puts these interfaces in front of those of wasmtime.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    preopens::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    types::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl State {
    /// Notes what was done to a file or below a folder, or that it was refused; gives the result back.
    async fn noted<T>(&mut self, file: u32, access: Access, result: FsResult<T>) -> FsResult<T> {
        let Some(folder) = self.places.0.get(&file).cloned() else { return result };
        let output = self.output.clone();
        self.granted().note_file(&folder, access, result.is_err(), &output).await;
        result
    }

    async fn written<T>(&mut self, file: u32, result: FsResult<T>) -> FsResult<T> {
        self.noted(file, Access::ReadWrite, result).await
    }
}

impl preopens::Host for State {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(File, String)>> {
        let folders = preopens::Host::get_directories(&mut self.filesystem())?;
        for (folder, path) in &folders {
            self.places.0.insert(folder.rep(), path.trim_start_matches('/').to_owned());
        }
        Ok(folders)
    }
}

impl types::Host for State {
    fn convert_error_code(&mut self, error: wasmtime_wasi::p2::FsError) -> wasmtime::Result<types::ErrorCode> {
        self.filesystem().convert_error_code(error)
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<types::ErrorCode>> {
        self.filesystem().filesystem_error_code(error)
    }
}

impl HostDescriptor for State {
    async fn open_at(
        &mut self,
        folder: File,
        path_flags: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<File> {
        let writes = flags.intersects(DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY)
            || how.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE);
        let access = if writes { Access::ReadWrite } else { Access::Read };
        let place = folder.rep();
        let opened = self.filesystem().open_at(folder, path_flags, path, how, flags).await;
        let opened = self.noted(place, access, opened).await?;
        if let Some(name) = self.places.0.get(&place).cloned() {
            self.places.0.insert(opened.rep(), name);
        }
        Ok(opened)
    }

    fn drop(&mut self, file: File) -> wasmtime::Result<()> {
        self.places.0.remove(&file.rep());
        HostDescriptor::drop(&mut self.filesystem(), file)
    }

    async fn create_directory_at(&mut self, folder: File, path: String) -> FsResult<()> {
        let place = folder.rep();
        let made = self.filesystem().create_directory_at(folder, path).await;
        self.written(place, made).await
    }

    async fn remove_directory_at(&mut self, folder: File, path: String) -> FsResult<()> {
        let place = folder.rep();
        let removed = self.filesystem().remove_directory_at(folder, path).await;
        self.written(place, removed).await
    }

    async fn unlink_file_at(&mut self, folder: File, path: String) -> FsResult<()> {
        let place = folder.rep();
        let removed = self.filesystem().unlink_file_at(folder, path).await;
        self.written(place, removed).await
    }

    async fn symlink_at(&mut self, folder: File, target: String, path: String) -> FsResult<()> {
        let place = folder.rep();
        let made = self.filesystem().symlink_at(folder, target, path).await;
        self.written(place, made).await
    }

    async fn link_at(&mut self, old: File, flags: PathFlags, path: String, new: File, to: String) -> FsResult<()> {
        let place = new.rep();
        let made = self.filesystem().link_at(old, flags, path, new, to).await;
        self.written(place, made).await
    }

    async fn rename_at(&mut self, old: File, path: String, new: File, to: String) -> FsResult<()> {
        let place = old.rep();
        let renamed = self.filesystem().rename_at(old, path, new, to).await;
        self.written(place, renamed).await
    }

    async fn set_times_at(
        &mut self,
        folder: File,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let place = folder.rep();
        let set = self.filesystem().set_times_at(folder, flags, path, accessed, modified).await;
        self.written(place, set).await
    }

    async fn set_times(&mut self, file: File, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()> {
        let place = file.rep();
        let set = self.filesystem().set_times(file, accessed, modified).await;
        self.written(place, set).await
    }

    // The rest needs no note: a file that is read or written was opened before, and what is only looked at is reading.

    async fn set_size(&mut self, file: File, size: Filesize) -> FsResult<()> {
        self.filesystem().set_size(file, size).await
    }

    async fn write(&mut self, file: File, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        self.filesystem().write(file, bytes, offset).await
    }

    fn write_via_stream(&mut self, file: File, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        self.filesystem().write_via_stream(file, offset)
    }

    fn append_via_stream(&mut self, file: File) -> FsResult<Resource<DynOutputStream>> {
        self.filesystem().append_via_stream(file)
    }

    async fn read(&mut self, file: File, length: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)> {
        self.filesystem().read(file, length, offset).await
    }

    fn read_via_stream(&mut self, file: File, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        self.filesystem().read_via_stream(file, offset)
    }

    async fn read_directory(&mut self, folder: File) -> FsResult<Resource<DirectoryEntryStream>> {
        let place = folder.rep();
        let read = self.filesystem().read_directory(folder).await;
        self.noted(place, Access::Read, read).await
    }

    async fn readlink_at(&mut self, folder: File, path: String) -> FsResult<String> {
        self.filesystem().readlink_at(folder, path).await
    }

    async fn stat(&mut self, file: File) -> FsResult<DescriptorStat> {
        self.filesystem().stat(file).await
    }

    async fn stat_at(&mut self, folder: File, flags: PathFlags, path: String) -> FsResult<DescriptorStat> {
        let place = folder.rep();
        let stat = self.filesystem().stat_at(folder, flags, path).await;
        self.noted(place, Access::Read, stat).await
    }

    async fn get_flags(&mut self, file: File) -> FsResult<DescriptorFlags> {
        self.filesystem().get_flags(file).await
    }

    async fn get_type(&mut self, file: File) -> FsResult<DescriptorType> {
        self.filesystem().get_type(file).await
    }

    async fn advise(&mut self, file: File, offset: Filesize, length: Filesize, advice: Advice) -> FsResult<()> {
        self.filesystem().advise(file, offset, length, advice).await
    }

    async fn sync(&mut self, file: File) -> FsResult<()> {
        self.filesystem().sync(file).await
    }

    async fn sync_data(&mut self, file: File) -> FsResult<()> {
        self.filesystem().sync_data(file).await
    }

    async fn is_same_object(&mut self, one: File, other: File) -> wasmtime::Result<bool> {
        self.filesystem().is_same_object(one, other).await
    }

    async fn metadata_hash(&mut self, file: File) -> FsResult<MetadataHashValue> {
        self.filesystem().metadata_hash(file).await
    }

    async fn metadata_hash_at(&mut self, folder: File, flags: PathFlags, path: String) -> FsResult<MetadataHashValue> {
        self.filesystem().metadata_hash_at(folder, flags, path).await
    }
}

impl HostDirectoryEntryStream for State {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.filesystem().read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.filesystem(), stream)
    }
}
