"""What a project of somebody else's may have: users of its own, and what they have bought."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AbstractUser, BaseUserManager, PermissionsMixin
from django.db import models


class PersonManager(BaseUserManager["Person"]):
    def create_user(self, email: str, **fields: Any) -> Person:
        return self.create(email=email, **fields)


class Person(AbstractBaseUser, PermissionsMixin):
    """A user with a UUID as primary key, and no username."""

    id: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    USERNAME_FIELD = "email"
    objects: ClassVar[PersonManager] = PersonManager()

    class Meta:
        swappable = "AUTH_USER_MODEL"


class Member(AbstractUser):
    """A user whose primary key is text: their e-mail address."""

    email = models.EmailField(primary_key=True)

    class Meta:
        swappable = "AUTH_USER_MODEL"


class Sale(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)


class Payment(models.Model):
    """The order's id stands beside the sale, as text."""

    sale = models.OneToOneField(Sale, on_delete=models.CASCADE)
    order = models.CharField(max_length=36, blank=True)
