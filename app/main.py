"""The MobCLIP app: explore the embeddings of a place on a map. Start it with `mobclip app`."""

from pathlib import Path

import streamlit as st

# A file of our own: a material icon as page icon would be fetched from the web.
ICON = Path(__file__).with_name("static") / "icon.png"
st.set_page_config(
    page_title="MobCLIP", page_icon=str(ICON), layout="wide", initial_sidebar_state="expanded"
)

import cache  # noqa: E402  page configuration comes first
import hints  # noqa: E402
import state  # noqa: E402
from views import classroom, data, data_upload, frame, modalities, probe, similar, train  # noqa: E402
from views import map as map_view  # noqa: E402

from mobclip.errors import MobclipError  # noqa: E402

VIEWS = {
    "map": map_view.show,
    "similar": similar.show,
    "probe": probe.show,
    "modalities": modalities.show,
    "train": train.show,
    "data": data.show,
}

WITHOUT_RUN = ("train", "data")  # views that need no embedding


def main() -> None:
    """One run of the page."""
    frame.style()
    catalogue = cache.places()
    if not catalogue:
        frame.nothing_yet(cache.data_dir())
        data_upload.show()
        return
    selection, files, ignored = state.read(catalogue)
    frame.top_bar(catalogue, selection, files)
    for notice in ignored:
        st.warning(notice, icon=":material/link_off:")
    if not selection.run and selection.view not in WITHOUT_RUN:
        frame.no_embeddings(files)
        return
    classroom.show(selection, files)
    VIEWS[selection.view](selection, files)
    hints.keep()


try:
    main()
except MobclipError as error:
    st.error(str(error), icon=":material/error:")
