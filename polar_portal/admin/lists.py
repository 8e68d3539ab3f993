"""How our own tables are listed. Polar writes them, people only look.

They are as quick with a million rows as with ten: each page is read off an index, of which there is one for each filter
and search, and nothing can be sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from polar_portal.models import CustomerSession, Order

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    ListPaginator = Paginator[Any]
else:
    ModelAdmin = object
    ListPaginator = Paginator

#: How many rows a list pages through. Counting them all takes as long as reading them all, and nobody pages that far.
MOST_LISTED = 2000


class CappedPaginator(ListPaginator):
    """Pages through MOST_LISTED rows at most, and counts hardly more."""

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST_LISTED)

    @property
    def is_capped(self) -> bool:
        return self._counted > MOST_LISTED

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        # As they are listed, so that the index which the page is read off serves here too.
        return int(rows[: MOST_LISTED + 1].count())


class CappedChangeList(ChangeList):
    """A list that says so when there is more than it pages through."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        if self.paginator.is_capped:
            shown = {
                "count": number_format(MOST_LISTED, force_grouping=True),
                "name": self.opts.verbose_name_plural,
            }
            if self._is_narrowed:
                self.title = (
                    _("%(count)s of the %(name)s found. Search or filter more narrowly to find others.") % shown
                )
            else:
                self.title = _("The newest %(count)s %(name)s. Search or filter to find others.") % shown

    @property
    def _is_narrowed(self) -> bool:
        return bool(self.query or self.has_active_filters)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.paginator.is_capped or not self._is_narrowed:
            self.full_result_count = self.result_count  # which keeps "2000 results" from being said beside the search
        # Where all were on one page when they were counted, Django would read however many there are by now.
        self.result_list = self.result_list[:MOST_LISTED]

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        # Asked for by hand, since no column offers it: there is no index for it.
        self.params.pop(ORDER_VAR, None)
        return super().get_ordering(request, queryset)


class ReadOnlyMixin(ModelAdmin):
    """For a table of ours: nobody adds, changes or deletes; whoever may view it finds rows without reading them all.

    lookups: what the address of the list may filter by. Django allows every column, and whoever may ask what a column
        begins with can read it, a token's ciphertext too.
    """

    lookups: frozenset[str] = frozenset()
    list_per_page = 20  # as on the customers' own list; drawing a row takes longer than finding it
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they would count the table, once for each choice
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CappedChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in self.lookups

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return self.search(request, queryset, term) if term else queryset, False

    def search(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return those of the rows that are meant by what was typed."""
        raise NotImplementedError

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any) -> Any:
        """Run an action; on "all" of a list only on those that the list has counted."""
        if request.POST.get("select_across", "0") not in {"", "0"}:
            queryset = queryset.filter(pk__in=list(queryset.values_list("pk", flat=True)[:MOST_LISTED]))
        return super().response_action(request, queryset, *args, **kwargs)

    def list_url(self, request: HttpRequest, model: type[Model], query: str = "") -> str:
        """Return the address of a model's list in this admin site, or "" if this member of staff can't see it."""
        if not self._shows(request, model):
            return ""
        address = reverse(f"{self.admin_site.name}:{model._meta.app_label}_{model._meta.model_name}_changelist")
        return f"{address}?{query}" if query else address

    def _shows(self, request: HttpRequest, model: type[Model]) -> bool:
        site = self.admin_site
        return site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)

    def customer_field(self, request: HttpRequest) -> Callable[[Any], str]:
        """Make the field with a row's customer, and where to find what else there is of them."""
        links = (
            (_("Orders of this customer"), Order),
            (_("Sessions of this customer"), CustomerSession),
        )

        @admin.display(description=_("Polar customer id"))
        def customer(row: Order | CustomerSession) -> str:
            text = format_html("{}", row.polar_customer_id)
            for title, model in links:
                if address := self.list_url(request, model, f"polar_customer_id={row.polar_customer_id}"):
                    text = format_html('{}<br><a href="{}">{}</a>', text, address, title)
            return text

        return customer
